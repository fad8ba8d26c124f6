/* help.h -- help texts and the manual page, made from the command and option tables. */
#ifndef PN_CLI_HELP_H
#define PN_CLI_HELP_H

#include "cli/cli.h"

void pn_help_version(FILE *f);
void pn_help_print(const pn_command *c, FILE *f); /* NULL: the program's */
void pn_help_man(FILE *f);                        /* roff, section 1 */

#endif
