#include "policies/rules/yaml_document.h"

#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/exceptions.h>
#include <yaml-cpp/parser.h>

#include <algorithm>
#include <cassert>
#include <exception>
#include <sstream>
#include <utility>

namespace sluice::policies {
namespace {

constexpr uint32_t from_one(int from_zero) {
  return from_zero < 0 ? 0 : static_cast<uint32_t>(from_zero) + 1;
}

// Collects the events of one document. Once stopped_ it ignores the rest: yaml-cpp has no way to be told to stop but an
// exception.
class TreeBuilder final : public YAML::EventHandler {
 public:
  TreeBuilder(const std::string& file, Problems& problems) : file_(file), problems_(problems) {}

  void OnDocumentStart(const YAML::Mark&) override {}
  void OnDocumentEnd() override {}
  void OnNull(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    leaf(node_at(YamlNode::Kind::null, mark), mark, {}, anchor);
  }
  void OnAlias(const YAML::Mark& mark, YAML::anchor_t) override { refuse_anchor(mark); }
  void OnScalar(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                const std::string& value) override {
    YamlNode node = node_at(YamlNode::Kind::scalar, mark);
    node.plain = tag == "?";
    node.text = value;
    leaf(std::move(node), mark, tag, anchor);
  }
  void OnSequenceStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                       YAML::EmitterStyle::value) override {
    open(YamlNode::Kind::list, mark, tag, anchor);
  }
  void OnSequenceEnd() override { close(); }
  void OnMapStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                  YAML::EmitterStyle::value) override {
    open(YamlNode::Kind::map, mark, tag, anchor);
  }
  void OnMapEnd() override { close(); }

  [[nodiscard]] bool stopped() const { return stopped_; }
  [[nodiscard]] YamlNode take_root() { return std::move(root_); }

 private:
  static YamlNode node_at(YamlNode::Kind kind, const YAML::Mark& mark) {
    YamlNode node;
    node.kind = kind;
    node.line = from_one(mark.line);
    node.column = from_one(mark.column);
    return node;
  }

  void error(const YAML::Mark& mark, std::string message, std::string hint) {
    add_problem(problems_, Problem{file_, from_one(mark.line), from_one(mark.column), Severity::error,
                                   std::move(message), std::move(hint)});
  }

  void stop(const YAML::Mark& mark, std::string message) {
    error(mark, std::move(message), "");
    stopped_ = true;
  }

  void refuse_anchor(const YAML::Mark& mark) {
    if (stopped_) return;
    error(mark, "anchors and aliases are not supported", "a value that begins with `*` or `&` needs quotes: \"*\"");
    stopped_ = true;
  }

  // True when the node may be taken.
  bool admit(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor) {
    if (stopped_) return false;
    if (anchor != 0) {
      refuse_anchor(mark);
      return false;
    }
    if (!tag.empty() && tag != "?" && tag != "!") {
      stop(mark, "YAML tags are not supported: `" + tag.substr(0, 80) + "`");
      return false;
    }
    if (++nodes_ > kYamlNodesMax) {
      stop(mark, "more than " + std::to_string(kYamlNodesMax) + " values in one file");
      return false;
    }
    return true;
  }

  void leaf(YamlNode node, const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor) {
    if (admit(mark, tag, anchor)) place(std::move(node));
  }

  void open(YamlNode::Kind kind, const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor) {
    if (!admit(mark, tag, anchor)) return;
    if (open_.size() >= kYamlDepthMax) {
      stop(mark, "nested deeper than " + std::to_string(kYamlDepthMax) + " levels");
      return;
    }
    open_.push_back(node_at(kind, mark));
  }

  void close() {
    if (stopped_) return;
    assert(!open_.empty());
    YamlNode node = std::move(open_.back());
    open_.pop_back();
    if (node.kind == YamlNode::Kind::map) check_keys(node);
    place(std::move(node));
  }

  void place(YamlNode node) {
    if (open_.empty()) {
      root_ = std::move(node);
      return;
    }
    YamlNode& parent = open_.back();
    const bool is_key = parent.kind == YamlNode::Kind::map && parent.keys.size() == parent.items.size();
    (is_key ? parent.keys : parent.items).push_back(std::move(node));
  }

  // yaml-cpp keeps the first of two equal keys and says nothing: then the file does not mean what it seems to say.
  void check_keys(const YamlNode& map) {
    assert(map.keys.size() == map.items.size());
    std::vector<const YamlNode*> keys;
    keys.reserve(map.keys.size());
    for (const YamlNode& key : map.keys) {
      if (key.kind == YamlNode::Kind::scalar) {
        keys.push_back(&key);
      } else {
        add_problem(problems_, Problem{file_, key.line, key.column, Severity::error, "a key has to be a word", ""});
      }
    }
    std::stable_sort(keys.begin(), keys.end(), [](const YamlNode* a, const YamlNode* b) { return a->text < b->text; });
    for (size_t i = 1; i < keys.size(); ++i) {
      if (keys[i]->text != keys[i - 1]->text) continue;
      add_problem(problems_, Problem{file_, keys[i]->line, keys[i]->column, Severity::error,
                                     "key `" + keys[i]->text + "` stands here a second time",
                                     "the first is in line " + std::to_string(keys[i - 1]->line)});
    }
  }

  const std::string& file_;
  Problems& problems_;
  std::vector<YamlNode> open_;
  YamlNode root_;
  size_t nodes_ = 0;
  bool stopped_ = false;
};

// Length of the UTF-8 sequence at the start of `text` (RFC 3629), 0 where it is not one.
size_t utf8_sequence_bytes(std::string_view text) {
  const auto byte = [&](size_t i) { return static_cast<uint8_t>(text[i]); };
  const uint8_t lead = byte(0);
  if (lead < 0x80) return 1;
  const size_t length = lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : 2;
  if (lead < 0xC2 || lead > 0xF4 || text.size() < length) return 0;
  for (size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xC0) != 0x80) return 0;
  }
  if (lead == 0xE0 && byte(1) < 0xA0) return 0;  // overlong
  if (lead == 0xED && byte(1) > 0x9F) return 0;  // surrogates
  if (lead == 0xF0 && byte(1) < 0x90) return 0;  // overlong
  if (lead == 0xF4 && byte(1) > 0x8F) return 0;  // above U+10FFFF
  return length;
}

// yaml-cpp guesses encodings and replaces what it cannot read; a file that decides about security is UTF-8 or refused.
bool check_characters(std::string_view text, const std::string& file, Problems& problems) {
  uint32_t line = 1;
  size_t line_start = 0;
  for (size_t i = 0; i < text.size();) {
    const auto byte = static_cast<uint8_t>(text[i]);
    const size_t length = utf8_sequence_bytes(text.substr(i, 4));
    const bool control = (byte < 0x20 && byte != '\t' && byte != '\n' && byte != '\r') || byte == 0x7F;
    if (length == 0 || control) {
      add_problem(problems,
                  Problem{file, line, static_cast<uint32_t>(i - line_start) + 1, Severity::error,
                          control ? "a control character" : "not UTF-8", "the file has to be plain UTF-8 text"});
      return false;
    }
    i += length;
    if (byte == '\n') {
      ++line;
      line_start = i;
    }
  }
  return true;
}

std::string hint_for(const std::string& message) {
  if (message.find("alias") != std::string::npos) return "a value that begins with `*` needs quotes: \"*\"";
  if (message.find("tab") != std::string::npos) return "indent with spaces";
  return "";
}

}  // namespace

std::optional<YamlNode> parse_yaml(std::string_view text, const std::string& file, Problems& problems) {
  if (text.size() > kYamlBytesMax) {
    add_problem(problems,
                Problem{file, 0, 0, Severity::error, "larger than " + std::to_string(kYamlBytesMax) + " bytes", ""});
    return std::nullopt;
  }
  if (!check_characters(text, file, problems)) return std::nullopt;
  const size_t problems_before = problems.size();
  TreeBuilder builder(file, problems);
  try {
    std::istringstream in{std::string(text)};
    YAML::Parser parser(in);
    if (parser.HandleNextDocument(builder) && !builder.stopped()) {
      TreeBuilder second(file, problems);
      if (parser.HandleNextDocument(second)) {
        add_problem(problems, Problem{file, 0, 0, Severity::error, "more than one YAML document in the file",
                                      "take out the `---` between them, or make a file of each"});
      }
    }
  } catch (const YAML::Exception& exception) {
    if (builder.stopped()) return std::nullopt;  // the reason is reported already
    add_problem(problems, Problem{file, from_one(exception.mark.line), from_one(exception.mark.column), Severity::error,
                                  "not valid YAML: " + exception.msg, hint_for(exception.msg)});
    return std::nullopt;
  } catch (const std::exception& exception) {
    add_problem(problems,
                Problem{file, 0, 0, Severity::error, std::string("not readable as YAML: ") + exception.what(), ""});
    return std::nullopt;
  }
  if (builder.stopped() || problems.size() != problems_before) return std::nullopt;
  return builder.take_root();
}

void add_problem(Problems& problems, Problem problem) {
  if (problems.size() < kProblemsMax) {
    problems.push_back(std::move(problem));
  } else if (problems.size() == kProblemsMax) {
    problems.push_back(
        {problem.file, 0, 0, problem.severity, "more than " + std::to_string(kProblemsMax) + " problems", ""});
  } else if (problem.severity == Severity::error) {
    problems.back().severity = Severity::error;  // what is not shown must not be taken for a warning
  }
}

bool has_errors(const Problems& problems) {
  return std::any_of(problems.begin(), problems.end(), [](const Problem& p) { return p.severity == Severity::error; });
}

}  // namespace sluice::policies
