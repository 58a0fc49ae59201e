#include "daemon/cli/mask_command.h"

namespace sluice::cli {

ExitStatus run_mask(const MaskOptions& options, const StandardStreams& streams) {
  BlockWriter out(streams.out), err(streams.err);
  const Result<DataChoice> data = DataChoice::create(options.data);
  if (!data) {
    err.write("sluice mask: " + data.error().message + "\n");
    return kUsage;
  }
  std::string why;
  const std::unique_ptr<policies::CardScanner> scanner = data->make_scanner(policies::KeyedSecrets::everywhere, why);
  if (scanner == nullptr) {
    err.write("sluice mask: " + why + "\n");
    return kUsage;
  }
  std::vector<std::string> files = options.files;
  if (files.empty()) files.emplace_back(kStandardInput);
  ExitStatus status = kSuccess;
  for (const std::string& file : files) {
    const std::string named = files.size() > 1 ? file : "";
    const Status read = read_through(*scanner, options.style, file, streams.in, [&](auto masked, auto findings) {
      out.write({reinterpret_cast<const char*>(masked.data()), masked.size()});
      // What was decided goes out at once: a pipe is a conversation.
      out.flush();
      if (!options.report) return;
      for (const policies::ReportedFinding& finding : findings) err.write(finding_line(finding, named));
      err.flush();
    });
    if (!read) {
      err.write("sluice mask: " + read.error().message + "\n");
      status = kUsage;
    }
    if (out.failed()) {
      err.write("sluice mask: output cannot be written\n");
      return kUsage;
    }
  }
  return status;
}

}  // namespace sluice::cli
