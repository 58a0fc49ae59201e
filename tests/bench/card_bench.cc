// How fast card numbers are found: batches of short fields as the data path presents them, and long buffers as COPY and
// `sluice scan` do; by engine. Corpora are made here, seeded, 256 KiB each. bytes_per_second is what was looked at.
#include <benchmark/benchmark.h>
#include <hs/hs.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdio>
#include <iterator>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "policies/cards/card_scanner_engine.h"

namespace {

using namespace sluice::policies;
using cards::Engine;

constexpr size_t kCorpusBytes = size_t{256} * 1024;

std::unique_ptr<CardScanner> make(Engine engine) {
  std::string why;
  auto scanner = create_card_scanner(engine, why);
  if (scanner == nullptr) {
    std::fprintf(stderr, "card scanner: %s\n", why.c_str());
    std::abort();
  }
  return scanner;
}

std::string random_digits(std::mt19937& random, size_t count) {
  std::string digits;
  for (size_t i = 0; i < count; ++i) digits += static_cast<char>('0' + random() % 10);
  return digits;
}

std::string card_number(std::mt19937& random) {
  std::string digits = "4" + random_digits(random, 14);
  unsigned sum = 0;
  for (size_t i = 0; i < 15; ++i) {
    unsigned digit = static_cast<unsigned>(digits[i] - '0');
    if (i % 2 == 0) digit = digit * 2 > 9 ? digit * 2 - 9 : digit * 2;
    sum += digit;
  }
  return digits + static_cast<char>('0' + (10 - sum % 10) % 10);
}

// The ten text fields of a row of an orders table.
std::vector<std::string> row(std::mt19937& random, bool with_card) {
  return {std::to_string(random() % 1000000),
          "2025-12-" + std::to_string(10 + random() % 18),
          "shipped",
          std::to_string(random() % 1000) + ".50",
          with_card ? card_number(random) : "invoice " + random_digits(random, 6),
          "Jane Doe",
          "Berlin",
          "t",
          "EUR",
          "thank you"};
}

std::string corpus_rows(double card_share) {
  std::mt19937 random(7);
  std::string out;
  while (out.size() < kCorpusBytes) {
    const bool with_card = random() % 1000 < card_share * 1000;
    for (const std::string& field : row(random, with_card)) {
      out += std::string("\0\0\0", 3) + static_cast<char>(field.size()) + field;
    }
  }
  return out;
}

std::string corpus_json() {
  std::mt19937 random(8);
  std::string out;
  while (out.size() < kCorpusBytes) {
    out += "{\"id\":" + std::to_string(random()) + random_digits(random, 8) + ",\"at\":17" + random_digits(random, 11) +
           ",\"name\":\"somebody\",\"ok\":true}\n";
  }
  return out;
}

std::string corpus_prose() {
  std::string out;
  while (out.size() < kCorpusBytes) out += "The quick brown fox jumps over the lazy dog, and nobody minds at all. ";
  return out;
}

std::string corpus_digits() {
  std::mt19937 random(9);
  return random_digits(random, kCorpusBytes);
}

std::string corpus_groups() {
  std::mt19937 random(10);
  std::string out;
  while (out.size() < kCorpusBytes) out += random_digits(random, 4) + " ";
  return out;
}

std::string corpus_blanks() {
  return std::string(kCorpusBytes, ' ');
}

std::string corpus(int which) {
  switch (which) {
    case 0:
      return corpus_rows(0.01);
    case 1:
      return corpus_rows(1.0);
    case 2:
      return corpus_json();
    case 3:
      return corpus_prose();
    case 4:
      return corpus_digits();
    case 5:
      return corpus_groups();
    default:
      return corpus_blanks();
  }
}
constexpr const char* kCorpusNames[] = {"rows_1%_cards", "rows_all_cards", "json_ids",   "prose",
                                        "digit_flood",   "group_flood",    "blank_flood"};
constexpr const char* kEngineNames[] = {"automatic", "scalar", "digits", "patterns", "portable", "avx2", "avx512"};

void long_buffer(benchmark::State& state) {
  const auto scanner = make(static_cast<Engine>(state.range(1)));
  std::string bytes = corpus(static_cast<int>(state.range(0)));
  ValueView value{{reinterpret_cast<uint8_t*>(bytes.data()), bytes.size()}};
  std::vector<Finding> findings;
  for (auto _ : state) {
    scanner->scan({&value, 1}, findings, {});
    benchmark::DoNotOptimize(findings.data());
  }
  state.SetBytesProcessed(static_cast<int64_t>(state.iterations() * bytes.size()));
  state.counters["findings"] = static_cast<double>(findings.size());
  state.SetLabel(std::string(kCorpusNames[state.range(0)]) + " " + kEngineNames[state.range(1)]);
}
BENCHMARK(long_buffer)->ArgsProduct({{0, 1, 2, 3, 4, 5, 6}, {0, 1, 4, 5, 6}})->Unit(benchmark::kMicrosecond);

// What Hyperscan does with the patterns that people give it for this: eight brands, unbroken, with the start of each
// match. No check digit, no separators, no hidden forms.
struct BrandPatterns {
  hs_database_t* database = nullptr;
  hs_scratch_t* scratch = nullptr;
  BrandPatterns() {
    constexpr const char* kBrands[] = {
        R"(\b4[0-9]{12}(?:[0-9]{3})?\b)",
        R"(\b(?:5[1-5][0-9]{2}|222[1-9]|22[3-9][0-9]|2[3-6][0-9]{2}|27[01][0-9]|2720)[0-9]{12}\b)",
        R"(\b3[47][0-9]{13}\b)",
        R"(\b3(?:0[0-5]|[68][0-9])[0-9]{11}\b)",
        R"(\b6(?:011|5[0-9]{2})[0-9]{12}\b)",
        R"(\b(?:2131|1800|35[0-9]{3})[0-9]{11}\b)",
        R"(\b62[0-9]{14,17}\b)",
        R"(\b(?:5[0678]|6[37])[0-9]{11,17}\b)",
    };
    constexpr unsigned kCount = std::size(kBrands);
    unsigned flags[kCount], ids[kCount];
    for (unsigned i = 0; i < kCount; ++i) flags[i] = HS_FLAG_SOM_LEFTMOST, ids[i] = i;
    hs_compile_error_t* error = nullptr;
    if (hs_compile_multi(kBrands, flags, ids, kCount, HS_MODE_BLOCK, nullptr, &database, &error) != HS_SUCCESS ||
        hs_alloc_scratch(database, &scratch) != HS_SUCCESS) {
      std::fprintf(stderr, "Hyperscan: %s\n", error != nullptr ? error->message : "no scratch");
      std::abort();
    }
  }
  ~BrandPatterns() {
    hs_free_scratch(scratch);
    hs_free_database(database);
  }
  BrandPatterns(const BrandPatterns&) = delete;
  BrandPatterns& operator=(const BrandPatterns&) = delete;
};

void hyperscan_brands(benchmark::State& state) {
  const BrandPatterns patterns;
  const std::string bytes = corpus(static_cast<int>(state.range(0)));
  size_t found = 0;
  const auto count = [](unsigned, unsigned long long, unsigned long long, unsigned, void* context) {
    ++*static_cast<size_t*>(context);
    return 0;
  };
  for (auto _ : state) {
    found = 0;
    if (hs_scan(patterns.database, bytes.data(), static_cast<unsigned>(bytes.size()), 0, patterns.scratch, count,
                &found) != HS_SUCCESS) {
      state.SkipWithError("hs_scan failed");
      break;
    }
    benchmark::DoNotOptimize(found);
  }
  state.SetBytesProcessed(static_cast<int64_t>(state.iterations() * bytes.size()));
  state.counters["findings"] = static_cast<double>(found);
  state.SetLabel(std::string(kCorpusNames[state.range(0)]) + " hyperscan, eight brands");
}
BENCHMARK(hyperscan_brands)->DenseRange(0, 6)->Unit(benchmark::kMicrosecond);

// Where Hyperscan begins to pay: one text of the given size, by engine.
void text_of_size(benchmark::State& state) {
  const auto scanner = make(static_cast<Engine>(state.range(1)));
  std::string bytes = corpus_rows(0.01).substr(0, static_cast<size_t>(state.range(0)));
  ValueView value{{reinterpret_cast<uint8_t*>(bytes.data()), bytes.size()}};
  std::vector<Finding> findings;
  for (auto _ : state) {
    scanner->scan({&value, 1}, findings, {});
    benchmark::DoNotOptimize(findings.data());
  }
  state.SetBytesProcessed(static_cast<int64_t>(state.iterations() * bytes.size()));
  state.SetLabel(kEngineNames[state.range(1)]);
}
BENCHMARK(text_of_size)->ArgsProduct({{64, 256, 1024, 4096, 65536}, {2, 3}});

// Batches as the data path makes them: all fields of the rows of one read. Time per row is the counter.
void batch_of_rows(benchmark::State& state) {
  constexpr size_t kRows = 64;
  const bool cards = state.range(0) != 0;
  const auto scanner = make(Engine::automatic);
  std::mt19937 random(11);
  std::vector<std::string> fields;
  for (size_t i = 0; i < kRows; ++i) {
    for (std::string& field : row(random, cards)) fields.push_back(std::move(field));
  }
  std::vector<ValueView> values;
  size_t bytes = 0;
  for (std::string& field : fields) {
    values.push_back({{reinterpret_cast<uint8_t*>(field.data()), field.size()}});
    bytes += field.size();
  }
  std::vector<Finding> findings;
  for (auto _ : state) {
    scanner->scan(values, findings, {});
    benchmark::DoNotOptimize(findings.data());
  }
  state.SetBytesProcessed(static_cast<int64_t>(state.iterations() * bytes));
  state.counters["per_row"] = benchmark::Counter(static_cast<double>(state.iterations() * kRows),
                                                 benchmark::Counter::kIsRate | benchmark::Counter::kInvert);
  state.SetLabel(cards ? "a card in every row" : "no candidate");
}
BENCHMARK(batch_of_rows)->Arg(0)->Arg(1);

// Rows of COPY in text format, about a hundred bytes each, with a card number: found, and masked in place.
void copy_rows(benchmark::State& state) {
  constexpr size_t kRows = 64;
  const auto scanner = make(Engine::automatic);
  std::mt19937 random(13);
  std::vector<std::string> rows;
  for (size_t i = 0; i < kRows; ++i) {
    std::string filler;
    for (size_t k = 0; k < 64; ++k) filler += "0123456789abcdef"[random() % 16];
    rows.push_back(std::to_string(1000000 + i) + "\tcustomer number " + std::to_string(1000000 + i) + "\t" +
                   card_number(random) + "\t" + filler + "\n");
  }
  const std::vector<std::string> before = rows;
  std::vector<ValueView> values;
  size_t bytes = 0;
  for (std::string& row : rows) {
    values.push_back({{reinterpret_cast<uint8_t*>(row.data()), row.size()}, ValueType::copy_row});
    bytes += row.size();
  }
  std::vector<Finding> findings;
  const bool masked = state.range(0) != 0;
  for (auto _ : state) {
    scanner->scan(values, findings, {});
    benchmark::DoNotOptimize(findings.data());
    if (!masked) continue;
    scanner->mask(values, findings, MaskStyle::bin6_last4);
    for (const Finding& finding : findings)  // as it was: a copy of one number
      std::copy_n(before[finding.value].data() + finding.offset, finding.length,
                  rows[finding.value].data() + finding.offset);
  }
  state.SetBytesProcessed(static_cast<int64_t>(state.iterations() * bytes));
  state.counters["per_row"] = benchmark::Counter(static_cast<double>(state.iterations() * kRows),
                                                 benchmark::Counter::kIsRate | benchmark::Counter::kInvert);
  state.counters["findings"] = static_cast<double>(findings.size());
  state.SetLabel(masked ? "found and masked" : "found");
}
BENCHMARK(copy_rows)->Arg(0)->Arg(1);

// Eight int8 columns in binary: ids and epochs.
void batch_of_int8(benchmark::State& state) {
  std::mt19937_64 random(12);
  std::vector<std::array<uint8_t, 8>> fields(512);
  std::vector<ValueView> values;
  for (auto& field : fields) {
    uint64_t value = random() % 1000000000000;
    for (size_t i = 8; i-- > 0; value >>= 8) field[i] = static_cast<uint8_t>(value);
    values.push_back({field, ValueType::integer, ValueFormat::binary});
  }
  const auto scanner = make(Engine::automatic);
  std::vector<Finding> findings;
  for (auto _ : state) {
    scanner->scan(values, findings, {});
    benchmark::DoNotOptimize(findings.data());
  }
  state.SetBytesProcessed(static_cast<int64_t>(state.iterations() * values.size() * 8));
}
BENCHMARK(batch_of_int8);

}  // namespace
