// bare_ingest.cc -- the bare chain that bench_ingest measures beside: DCMTK parse, libjpeg-turbo,
// two-pass area resize by a whole factor; nothing is checked, kept or written.
//
// Usage: bare_ingest SIDE FILE...   Answers one line to each command on stdin:
//   (start)  ready VERSIONS
//   run      SECONDS CPU_SECONDS SUM_OF_PIXELS
//   quit     (ends)
#include <dcmtk/config/osconfig.h>
#include <dcmtk/dcmdata/dcpixseq.h>
#include <dcmtk/dcmdata/dcpxitem.h>
#include <dcmtk/dcmdata/dctk.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <vector>

#include <jpeglib.h>

namespace {

double seconds(clockid_t clock) {
  timespec t;
  clock_gettime(clock, &t);
  return static_cast<double>(t.tv_sec) + 1e-9 * static_cast<double>(t.tv_nsec);
}

[[noreturn]] void fail(const char *path, const char *what) {
  fprintf(stderr, "bare_ingest: %s: %s\n", path, what);
  exit(1);
}

void decode(jpeg_decompress_struct *j, const Uint8 *data, unsigned long bytes,
            std::vector<uint8_t> *out) {
  jpeg_mem_src(j, data, bytes);
  jpeg_read_header(j, TRUE);
  j->out_color_space = JCS_GRAYSCALE;
  j->dct_method = JDCT_ISLOW;
  jpeg_start_decompress(j);
  out->resize(static_cast<size_t>(j->output_width) * j->output_height);
  while (j->output_scanline < j->output_height) {
    JSAMPROW row = out->data() + static_cast<size_t>(j->output_scanline) * j->output_width;
    jpeg_read_scanlines(j, &row, 1);
  }
  jpeg_finish_decompress(j);
}

// k rows are added up, then k neighbours: side * k pixels to side.
void shrink(const uint8_t *in, size_t side, size_t k, uint8_t *out) {
  const size_t width = side * k, area = k * k;
  std::vector<uint16_t> sum(width);
  for (size_t y = 0; y < side; y++) {
    std::fill(sum.begin(), sum.end(), static_cast<uint16_t>(0));
    for (size_t r = 0; r < k; r++)
      for (size_t x = 0; x < width; x++)
        sum[x] = static_cast<uint16_t>(sum[x] + in[(y * k + r) * width + x]);
    for (size_t x = 0; x < side; x++) {
      unsigned s = 0;
      for (size_t i = 0; i < k; i++) s += sum[x * k + i];
      out[y * side + x] = static_cast<uint8_t>((s + area / 2) / area);
    }
  }
}

void convert(const char *path, jpeg_decompress_struct *j, std::vector<uint8_t> *frame, size_t side,
             uint8_t *out) {
  DcmFileFormat file;
  DcmElement *e = nullptr;
  DcmPixelSequence *sequence = nullptr;
  DcmPixelItem *item = nullptr;
  E_TransferSyntax syntax = EXS_Unknown;
  const DcmRepresentationParameter *parameter = nullptr;
  Uint8 *data = nullptr;

  if (file.loadFile(path).bad()) fail(path, "not DICOM");
  if (file.getDataset()->findAndGetElement(DCM_PixelData, e).bad()) fail(path, "no pixels");
  DcmPixelData *pixels = static_cast<DcmPixelData *>(e);
  pixels->getOriginalRepresentationKey(syntax, parameter);
  if (pixels->getEncapsulatedRepresentation(syntax, parameter, sequence).bad() ||
      sequence->getItem(item, 1).bad() || item->getUint8Array(data).bad())
    fail(path, "no fragment");
  decode(j, data, item->getLength(), frame);
  if (j->output_width != j->output_height || j->output_width % side != 0)
    fail(path, "not a square image of a whole multiple of SIDE");
  shrink(frame->data(), side, j->output_width / side, out);
}

} // namespace

int main(int argc, char **argv) {
  jpeg_decompress_struct j;
  jpeg_error_mgr errors;
  std::vector<uint8_t> frame, out;
  char line[64];

  if (argc < 3) fail("usage", "bare_ingest SIDE FILE...");
  const size_t side = static_cast<size_t>(atol(argv[1]));
  out.resize(side * side);
  j.err = jpeg_std_error(&errors);
  jpeg_create_decompress(&j);
  printf("ready DCMTK " OFFIS_DCMTK_VERSION_STRING ", libjpeg API %d\n", JPEG_LIB_VERSION);
  fflush(stdout);
  while (fgets(line, sizeof line, stdin) && strncmp(line, "run", 3) == 0) {
    const double wall = seconds(CLOCK_MONOTONIC), cpu = seconds(CLOCK_PROCESS_CPUTIME_ID);
    unsigned long long sum = 0;
    for (int i = 2; i < argc; i++) {
      convert(argv[i], &j, &frame, side, out.data());
      for (const uint8_t p : out) sum += p;
    }
    printf("%.6f %.6f %llu\n", seconds(CLOCK_MONOTONIC) - wall,
           seconds(CLOCK_PROCESS_CPUTIME_ID) - cpu, sum);
    fflush(stdout);
  }
  jpeg_destroy_decompress(&j);
  return 0;
}
