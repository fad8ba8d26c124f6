# `cmake --install build --prefix P` gives a usable prefix.
install(TARGETS pneuma RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
install(DIRECTORY configs jobs DESTINATION ${CMAKE_INSTALL_DATADIR}/pneuma)
install(DIRECTORY docs/ DESTINATION ${CMAKE_INSTALL_DOCDIR})
install(FILES README.md LICENSE DESTINATION ${CMAKE_INSTALL_DOCDIR})

# The man page is made from the option tables by the program itself.
install(CODE "
  execute_process(COMMAND \"${CMAKE_BINARY_DIR}/pneuma\" help man
    OUTPUT_FILE \"${CMAKE_BINARY_DIR}/pneuma.1\" RESULT_VARIABLE rc)
  if(NOT rc EQUAL 0)
    message(FATAL_ERROR \"'pneuma help man' failed (${CMAKE_BINARY_DIR}/pneuma): the program does not run here\")
  endif()")
install(FILES ${CMAKE_BINARY_DIR}/pneuma.1 DESTINATION ${CMAKE_INSTALL_MANDIR}/man1)
