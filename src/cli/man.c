/* man.c -- the manual page in roff, from the command and option tables. */
#include "cli/help.h"
#include "cli/option_value.h"
#include "pn_version.h"

#include <string.h>

enum { TEXT_BYTES = 640 };

/* Text with what roff would take for its own escaped. */
static void roff(const char *s, FILE *f) {
  if (*s == '.' || *s == '\'') fputs("\\&", f);
  for (; *s; s++) {
    if (*s == '-')
      fputs("\\-", f);
    else if (*s == '\\')
      fputs("\\e", f);
    else
      fputc(*s, f);
  }
}

static void commands_of(const pn_option *row, FILE *f) {
  int n, shown = 0;
  const pn_command *c = pn_command_table(&n);

  for (int i = 0; i < n; i++)
    if (c[i].own & row->commands) fprintf(f, "%s%s", shown++ ? ", " : "", c[i].name);
}

static void option_entry(const pn_option *row, FILE *f) {
  char range[TEXT_BYTES];

  pn_option_range(row, range, sizeof range);
  fputs(".TP\n.BI ", f);
  roff(row->key, f);
  fprintf(f, "= %s\n", row->type == PN_T_TEXT ? "text" : "value");
  roff(row->help, f);
  fputs(".\n", f);
  roff(range, f);
  fprintf(f, "%s%s", *row->unit ? " " : "", row->unit);
  fputs("; default ", f);
  roff(*row->dflt ? row->dflt : "none", f);
  fputs(". Commands: ", f);
  commands_of(row, f);
  fputs(".\n", f);
}

static void commands_section(FILE *f) {
  int n;
  const pn_command *c = pn_command_table(&n);

  fputs(".SH COMMANDS\n", f);
  for (int i = 0; i < n; i++) {
    fprintf(f, ".TP\n.BI \"pneuma %s \" \"", c[i].name);
    roff(c[i].args, f);
    fputs("\"\n", f);
    roff(c[i].help, f);
    fputs(".\n", f);
    if (c[i].also) fprintf(f, "Takes the options of\n.B pneuma %s\ntoo.\n", c[i].also);
  }
}

static void options_section(FILE *f) {
  int n;
  const pn_option *row = pn_option_table(&n);

  fputs(".SH OPTIONS\nOptions are set by\n.IR key = value\non the command line, by\n.BI \\-\\-key "
        "\" value\"\nor in a YAML file that nests at the dot. The command line wins. In the long "
        "form "
        "the part of\nthe key before its last dot may be left out. A key that does not exist is an "
        "error.\n"
        ".TP\n.B \\-\\-json\nPrint the result as one JSON object, also on failure.\n"
        ".TP\n.BR \\-q \", \" \\-\\-quiet\nOnly results, warnings and errors.\n"
        ".TP\n.BR \\-h \", \" \\-\\-help\nHelp of the program or of a command.\n"
        ".TP\n.BR \\-V \", \" \\-\\-version\nVersion and commit.\n",
        f);
  for (int i = 0; i < n; i++) option_entry(&row[i], f);
}

void pn_help_man(FILE *f) {
  fprintf(f, ".TH PNEUMA 1 \"\" \"pneuma %s\" \"User Commands\"\n", PN_VERSION);
  fputs(".SH NAME\npneuma \\- chest X\\-ray models on many cores, and how well that scaled\n"
        ".SH SYNOPSIS\n.B pneuma\n.I command\n.RI [ argument ...]\n.RI [ key = value ...]\n.br\n"
        ".B mpirun \\-n\n.I ranks\n.B pneuma\n.I command\n\\&...\n"
        ".SH DESCRIPTION\npneuma turns chest X\\-rays into trained classifiers with the cores of "
        "one machine or of a cluster\nand measures how well that scaled. It runs alone, under "
        "mpirun and under srun. Results go to standard\noutput, progress and messages to standard "
        "error; rank 0 speaks.\n",
        f);
  commands_section(f);
  options_section(f);
  fputs(".SH EXIT STATUS\n.TP\n.B 0\nDone.\n.TP\n.B 1\nFailed.\n.TP\n.B 2\nUsage or "
        "configuration.\n.TP\n.B 3\nMPI could not start.\n.TP\n.B 4\nThe watchdog ended the job.\n"
        ".TP\n.B 75\nStopped by SIGTERM, SIGUSR1 or SIGUSR2; the same command goes on (training "
        "and study: train.resume=true).\n"
        ".SH EXAMPLES\n.nf\n"
        "pneuma synth data/phantom \\-\\-images 400\n"
        "mpirun \\-n 2 pneuma ingest data/phantom data/phantom128 \\-\\-size 128\n"
        "mpirun \\-n 2 pneuma train data.path=data/phantom128 train.epochs=5 out.path=results/one\n"
        "pneuma eval results/one\n.fi\n",
        f);
}
