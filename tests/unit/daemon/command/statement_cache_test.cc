#include "daemon/command/statement_cache.h"

#include <gtest/gtest.h>

#include <set>

namespace sluice::command {
namespace {

constexpr HashKey kKey{0x0706050403020100, 0x0f0e0d0c0b0a0908};
using Cache = StatementCache<int>;
Cache::Ref value(int n) {
  return std::make_shared<const int>(n);
}

const sql::TextSettings kUtf8{"UTF8", true, true};
const sql::TextSettings kLatin1{"LATIN1", true, true};

TEST(StatementCache, FindsExactlyWhatWasPut) {
  Cache cache(kKey);
  EXPECT_EQ(cache.find("SELECT 1", kUtf8), nullptr);
  cache.put("SELECT 1", kUtf8, value(1));
  ASSERT_NE(cache.find("SELECT 1", kUtf8), nullptr);
  EXPECT_EQ(*cache.find("SELECT 1", kUtf8), 1);
  EXPECT_EQ(cache.find("SELECT 1 ", kUtf8), nullptr);
  EXPECT_EQ(cache.find("select 1", kUtf8), nullptr);
  EXPECT_EQ(cache.find("", kUtf8), nullptr);
  EXPECT_EQ(cache.hits(), 2u);
  EXPECT_EQ(cache.misses(), 4u);
}

TEST(StatementCache, SettingsMatterOnlyWhereTheTextDependsOnThem) {
  Cache cache(kKey);
  cache.put("SELECT 'a'", kUtf8, value(1));
  EXPECT_NE(cache.find("SELECT 'a'", kLatin1), nullptr);
  EXPECT_NE(cache.find("SELECT 'a'", {"UTF8", false, false}), nullptr);
  const std::string dependent = "SELECT '\\'";
  cache.put(dependent, kUtf8, value(2));
  EXPECT_NE(cache.find(dependent, kUtf8), nullptr);
  EXPECT_EQ(cache.find(dependent, kLatin1), nullptr);
  EXPECT_EQ(cache.find(dependent, {"UTF8", false, true}), nullptr);
  EXPECT_EQ(cache.find(dependent, {"UTF8", true, false}), nullptr);
}

TEST(StatementCache, ReplacesAndForgets) {
  Cache cache(kKey);
  cache.put("a", kUtf8, value(1));
  const Cache::Ref held = cache.find("a", kUtf8);
  cache.put("a", kUtf8, value(2));
  EXPECT_EQ(*cache.find("a", kUtf8), 2);
  EXPECT_EQ(cache.size(), 1u);
  cache.clear();
  EXPECT_EQ(cache.find("a", kUtf8), nullptr);
  EXPECT_EQ(cache.bytes(), 0u);
  EXPECT_EQ(*held, 1);  // what a session holds stays
}

TEST(StatementCache, LeastRecentlyUsedGoesFirst) {
  Cache cache(kKey, {.entries_max = 2});
  cache.put("a", kUtf8, value(1));
  cache.put("b", kUtf8, value(2));
  ASSERT_NE(cache.find("a", kUtf8), nullptr);
  cache.put("c", kUtf8, value(3));
  EXPECT_NE(cache.find("a", kUtf8), nullptr);
  EXPECT_EQ(cache.find("b", kUtf8), nullptr);
  EXPECT_NE(cache.find("c", kUtf8), nullptr);
}

TEST(StatementCache, IsBoundedInBytes) {
  Cache cache(kKey, {.bytes_max = 100'000, .text_bytes_max = 10'000});
  for (int i = 0; i < 100; ++i) cache.put(std::string(5'000, 'x') + std::to_string(i), kUtf8, value(i));
  EXPECT_LE(cache.bytes(), 100'000u);
  EXPECT_GT(cache.size(), 10u);
  EXPECT_NE(cache.find(std::string(5'000, 'x') + "99", kUtf8), nullptr);
  EXPECT_EQ(cache.find(std::string(5'000, 'x') + "0", kUtf8), nullptr);
  const size_t before = cache.size();
  cache.put(std::string(10'001, 'y'), kUtf8, value(0));
  EXPECT_EQ(cache.size(), before);
}

TEST(StatementCache, SurvivesChurn) {
  Cache cache(kKey, {.entries_max = 50});
  for (int i = 0; i < 5'000; ++i) {
    const std::string text = "SELECT " + std::to_string(i * 7919 % 200);
    if (const auto found = cache.find(text, kUtf8); found != nullptr) {
      EXPECT_EQ(*found, i * 7919 % 200);
    }
    cache.put(text, kUtf8, value(i * 7919 % 200));
    ASSERT_LE(cache.size(), 50u);
  }
}

// Every bit of the text and of the key changes the hash, at every length.
TEST(KeyedHash, DependsOnEveryByteAndOnTheKey) {
  std::set<uint64_t> seen;
  std::string text;
  for (size_t length = 0; length < 40; ++length) {
    EXPECT_TRUE(seen.insert(keyed_hash(text, kKey)).second);
    EXPECT_TRUE(seen.insert(keyed_hash(text, {kKey[0] ^ 1, kKey[1]})).second);
    EXPECT_TRUE(seen.insert(keyed_hash(text, {kKey[0], kKey[1] ^ 1})).second);
    for (size_t i = 0; i < length; ++i) {
      std::string other = text;
      other[i] = static_cast<char>(other[i] ^ 0x80);
      EXPECT_TRUE(seen.insert(keyed_hash(other, kKey)).second);
    }
    text.push_back('\0');
  }
}

}  // namespace
}  // namespace sluice::command
