/* option_table.c -- every option of the program: its name, range, default, unit and help live here
 * and nowhere else. */
#include "cli/options.h"

#include <string.h>

enum {
  I = PN_CMD_INFO,
  S = PN_CMD_SYNTH,
  G = PN_CMD_INGEST,
  T = PN_CMD_TRAIN,
  E = PN_CMD_EVAL,
  U = PN_CMD_STUDY,
  R = PN_CMD_RUN,
  B = PN_CMD_BENCH,
  ALL = I | S | G | T | E | U | B
};

/* Bounds: PATH and WORD texts in bytes; SEED is the range a double holds exactly. */
#define PATH 0, 1000
#define WORD 1, 31
#define SEED 0, 9007199254740992.0

static const pn_option table[] = {
    {"data.path", PN_T_TEXT, PATH, "", NULL, "", "folder with index.json and shards", I | T | E},
    {"data.check", PN_T_CHOICE, WORD, "first", "first|always|never", "",
     "compare each image's checksum: when first read, whenever read, or not at all", T},
    {"data.prefetch", PN_T_INT, 0, 64, "0", NULL, "batches",
     "read ahead of the step by data.threads; 0: read in the step", T},
    {"data.threads", PN_T_INT, 1, 256, "1", NULL, "threads",
     "per rank that read ahead, where data.prefetch is not 0", T},

    {"model.name", PN_T_CHOICE, WORD, "custom_cnn", "@models", "", "network", T},
    {"model.filters1", PN_T_INT, 1, 4096, "32", NULL, "", "filters of the first convolution",
     I | T},
    {"model.filters2", PN_T_INT, 1, 4096, "64", NULL, "", "filters of the second convolution",
     I | T},
    {"model.kernel", PN_T_INT, 1, 15, "3", NULL, "pixels", "side of the convolution kernels",
     I | T},
    {"model.padding", PN_T_CHOICE, WORD, "same", "same|valid", "",
     "same: convolutions keep height and width", I | T},
    {"model.hidden", PN_T_INT, 1, 65536, "128", NULL, "", "units of the hidden dense layer", I | T},
    {"model.dropout", PN_T_FLOAT, 0, 0.95, "0", NULL, "",
     "share of units dropped before the last dense layer", I | T},
    {"model.input_mean", PN_T_FLOAT, 0, 1, "0.5", NULL, "",
     "taken off pixels / 255 before the first layer", T},
    {"model.input_sd", PN_T_FLOAT, 0.001, 1, "0.25", NULL, "",
     "then divided by this: 1 with mean 0 gives plain pixels / 255", T},
    {"model.head", PN_T_CHOICE, WORD, "sigmoid", "sigmoid|softmax", "",
     "sigmoid: one logit for two classes; softmax: one per class", I | T},
    {"model.size", PN_T_SIZE, 4, 8192, "128", NULL, "pixels",
     "input height and width when there is no data", I},
    {"model.channels", PN_T_INT, 1, 64, "1", NULL, "", "input channels when there is no data", I},
    {"model.classes", PN_T_INT, 2, 128, "2", NULL, "", "classes when there is no data", I},

    {"train.epochs", PN_T_INT, 0, 1e6, "10", NULL, "epochs", "stop after; 0 = no limit by this one",
     T},
    {"train.steps", PN_T_INT, 0, 1e12, "0", NULL, "steps", "stop after; 0 = no limit by this one",
     T},
    {"train.batch", PN_T_INT, 1, 1048576, "32", NULL, "images", "images per step", I | T},
    {"train.batch_rule", PN_T_CHOICE, WORD, "global", "global|local", "",
     "global: the batch is split over the ranks; local: each rank has its own", I | T},
    {"train.strategy", PN_T_CHOICE, WORD, "auto", "@strategies", "",
     "how ranks share work; auto: single on one rank, ddp on several", T},
    {"train.device", PN_T_CHOICE, WORD, "auto", "auto|cpu|ref|onednn|cuda", "",
     "auto, cpu: the fastest this build has for the CPU", I | T},
    {"train.precision", PN_T_CHOICE, WORD, "f32", "f32", "", "arithmetic", T},
    {"train.threads", PN_T_INT, 1, 4096, "auto", NULL, "threads",
     "per rank; auto: the cores the rank may use", I | T | E},
    {"train.seed", PN_T_INT, SEED, "1", NULL, "", "initial weights, order of images, dropout", T},
    {"train.bucket_mb", PN_T_FLOAT, 0.001, 4096, "4", NULL, "MiB", "gradients sent together by ddp",
     T},
    {"train.comm", PN_T_CHOICE, WORD, "auto", "auto|mpi|shm", "",
     "how gradients travel; shm: shared memory on each host; auto: shm where ranks share hosts",
     T | B},
    {"train.weights", PN_T_TEXT, PATH, "", NULL, "",
     "file of weights to start from: safetensors (torchvision's names) or Keras HDF5", R},
    {"train.weights_missing", PN_T_CHOICE, WORD, "head", "none|head|any", "",
     "parameters that need not be in that file; head: the last dense layer", R},
    {"train.validate", PN_T_BOOL, 0, 1, "true", NULL, "",
     "evaluate on val after each epoch and on test at the end", T},

    {"train.resume", PN_T_BOOL, 0, 1, "false", NULL, "",
     "go on from the newest checkpoint in out.path, bit by bit; its options count where none are "
     "given",
     R},
    {"train.checkpoint_steps", PN_T_INT, 0, 1e12, "0", NULL, "steps",
     "save after so many; with both at 0: at the end of the first epoch after a minute, and at the "
     "end",
     R},
    {"train.checkpoint_epochs", PN_T_INT, 0, 1e9, "0", NULL, "epochs", "save after so many", R},
    {"train.keep", PN_T_INT, 1, 1e6, "2", NULL, "checkpoints", "newest ones that stay", R},
    {"train.keep_best", PN_T_BOOL, 0, 1, "true", NULL, "",
     "save after each best validation, and keep that one too", R},

    {"augment.hflip", PN_T_FLOAT, 0, 1, "0", NULL, "",
     "training images: left and right exchanged with this probability", T},
    {"augment.rotate", PN_T_FLOAT, 0, 180, "0", NULL, "degrees", "turned by up to, either way", T},
    {"augment.translate", PN_T_FLOAT, 0, 1, "0", NULL, "",
     "moved by up to this share of width and height", T},
    {"augment.zoom", PN_T_FLOAT, 0, 4, "0", NULL, "", "scaled by 1 / (1 + this) to 1 + this", T},
    {"augment.shear", PN_T_FLOAT, 0, 60, "0", NULL, "degrees", "sheared by up to, either way", T},
    {"augment.fill", PN_T_CHOICE, WORD, "edge", "edge|black", "",
     "what these four bring in from outside the image", T},
    {"augment.brightness", PN_T_FLOAT, 0, 1, "0", NULL, "",
     "up to this added or taken off; 1 = black to white", T},
    {"augment.contrast", PN_T_FLOAT, 0, 1, "0", NULL, "",
     "distance from mid-grey times 1 - this to 1 + this", T},
    {"augment.gamma", PN_T_FLOAT, 0, 4, "0", NULL, "",
     "grey level to the power 1 / (1 + this) to 1 + this", T},
    {"augment.noise", PN_T_FLOAT, 0, 1, "0", NULL, "",
     "normal noise of standard deviation up to; 1 = black to white", T},
    {"augment.cutout", PN_T_FLOAT, 0, 1, "0", NULL, "",
     "a rectangle of this share of the sides becomes the input mean", T},
    {"augment.jitter", PN_T_FLOAT, 0, 1, "0", NULL, "",
     "colour images: each channel times 1 - this to 1 + this", T},
    {"augment.mixup", PN_T_FLOAT, 0, 8, "0", NULL, "",
     "mixed with another image, labels too; shares from Beta(this, this)", T},

    {"optim.name", PN_T_CHOICE, WORD, "adam", "adam|sgd", "", "update rule", T},
    {"optim.lr", PN_T_FLOAT, 0, 100, "0.001", NULL, "", "learning rate", T},
    {"optim.momentum", PN_T_FLOAT, 0, 0.9999, "0", NULL, "", "sgd", T},
    {"optim.nesterov", PN_T_BOOL, 0, 1, "false", NULL, "", "sgd with momentum: look ahead", T},
    {"optim.beta1", PN_T_FLOAT, 0, 0.999999, "0.9", NULL, "", "adam: decay of the mean", T},
    {"optim.beta2", PN_T_FLOAT, 0, 0.99999999, "0.999", NULL, "", "adam: decay of the square", T},
    {"optim.eps", PN_T_FLOAT, 1e-30, 1, "1e-08", NULL, "", "adam: added to the denominator", T},
    {"optim.weight_decay", PN_T_FLOAT, 0, 10, "0", NULL, "", "L2 penalty on weights, not on biases",
     T},

    {"out.path", PN_T_TEXT, PATH, "auto", NULL, "",
     "folder for results; auto: results/NAME-TIME; one that holds a run is refused", T | U},

    {"study.repeats", PN_T_INT, 1, 32, "3", NULL, "runs",
     "of each row; the first to the end with val, the others for their step times", U},
    {"study.steps", PN_T_INT, 0, 1e9, "20", NULL, "steps",
     "of each run after a row's first; 0 = as many as the first", U},
    {"study.plots", PN_T_BOOL, 0, 1, "true", NULL, "", "draw speedup and efficiency with gnuplot",
     U},

    {"eval.checkpoint", PN_T_TEXT, 1, 31, "last", NULL, "", "last, best, or a step's number", E},
    {"eval.split", PN_T_CHOICE, WORD, "test", "train|val|test", "", "images to evaluate on", E},

    {"bench.from_kb", PN_T_INT, 1, 1048576, "4", NULL, "KiB", "smallest buffer", B},
    {"bench.to_mb", PN_T_INT, 1, 4096, "256", NULL, "MiB", "largest buffer", B},
    {"bench.row_s", PN_T_FLOAT, 0, 60, "0.3", NULL, "s", "time for the samples of one row, about",
     B},

    {"synth.images", PN_T_INT, 1, 1e7, "400", NULL, "images", "how many to draw", S},
    {"synth.seed", PN_T_INT, SEED, "1", NULL, "", "the same seed gives the same files", S},
    {"synth.positives", PN_T_FLOAT, 0, 1, "0.4", NULL, "", "share with opacities", S},
    {"synth.normals", PN_T_FLOAT, 0, 1, "0.5", NULL, "",
     "share of the others that is of class Normal", S},
    {"synth.contrast", PN_T_FLOAT, 0.1, 4, "1", NULL, "",
     "strength of the opacities; more is easier", S},
    {"synth.quality", PN_T_INT, 1, 100, "84", NULL, "", "JPEG quality", S},

    {"ingest.size", PN_T_SIZE, 4, 8192, "128", NULL, "pixels",
     "height and width in the shards: 256, or 256x192", G},
    {"ingest.bits", PN_T_CHOICE, WORD, "8", "8|16", "", "of a stored pixel", G},
    {"ingest.fit", PN_T_CHOICE, WORD, "stretch", "stretch|letterbox|crop", "",
     "an image of another shape: stretched, with black bars, or its centre", G},
    {"ingest.kind", PN_T_CHOICE, WORD, "auto", "auto|rsna", "",
     "layout of the input folder; auto: recognised by its files", G},
    {"ingest.labels", PN_T_TEXT, PATH, "", NULL, "",
     "CSV with the boxes, if it is not in the input folder", G},
    {"ingest.classes", PN_T_TEXT, PATH, "", NULL, "",
     "CSV with the class of each image, if it is not beside the labels", G},
    {"ingest.salt", PN_T_TEXT, 1, 200, "pneuma", NULL, "", "goes into the hashed patient ids", G},
    {"ingest.seed", PN_T_INT, SEED, "1", NULL, "", "assignment of patients to splits", G},
    {"ingest.val", PN_T_FLOAT, 0, 0.9, "0.15", NULL, "", "share of patients in val", G},
    {"ingest.test", PN_T_FLOAT, 0, 0.9, "0.15", NULL, "", "share of patients in test", G},
    {"ingest.shard_mb", PN_T_INT, 1, 4096, "64", NULL, "MB", "most pixels in one shard file", G},
    {"ingest.max_rejects", PN_T_INT, -1, 1e12, "-1", NULL, "files",
     "more rejected files than this fail the job; -1 = no limit", G},
    {"ingest.require_labels", PN_T_BOOL, 0, 1, "false", NULL, "",
     "a file without a label fails the job", G},
    {"ingest.frames", PN_T_CHOICE, WORD, "reject", "reject|first", "",
     "a DICOM file of several frames: refuse it, or take the first", G},
    {"ingest.window", PN_T_INT, 1, 1000, "1", NULL, "",
     "which of several DICOM windows to apply; 1 = the first", G},
    {"ingest.burned_in", PN_T_CHOICE, WORD, "warn", "warn|reject", "",
     "a DICOM file that says text is burned into its pixels", G},

    {"run.watchdog_s", PN_T_FLOAT, 0, 86400, "300", NULL, "s",
     "end the job (exit code 4) when a collective takes longer; 0 = never", ALL},
};

const pn_option *pn_option_table(int *count) {
  *count = (int)(sizeof table / sizeof *table);
  return table;
}

const pn_option *pn_option_find(const char *key) {
  for (size_t i = 0; i < sizeof table / sizeof *table; i++)
    if (strcmp(table[i].key, key) == 0) return &table[i];
  return NULL;
}
