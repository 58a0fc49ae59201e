// What a column is known as: own names, former names, parents, and what views are made of.
#include "daemon/catalog/snapshot.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>

#include "daemon/catalog/catalog.h"

namespace sluice::catalog {
namespace {

Rows cards() {
  Rows rows;
  rows.relations = {{16400, "public", "cards", 'r', ""},
                    {16401, "public", "notes", 'r', ""},
                    {1259, "pg_catalog", "pg_class", 'r', ""}};
  rows.columns = {{16400, 1, "id", false}, {16400, 3, "pan", false}, {16401, 1, "note", false}};
  return rows;
}

std::string origins(const Column* column) {
  if (column == nullptr) return "none";
  std::string text;
  for (const Origin& origin : column->origins)
    text += (text.empty() ? "" : " ") + origin.schema + "." + origin.relation + "." + origin.column;
  return column->untraceable ? text + " ?" : text;
}

TEST(Snapshot, ColumnsAreFoundByNumberAndByName) {
  FormerNames former;
  const auto snapshot = Snapshot::build(cards(), former);
  ASSERT_NE(snapshot->by_oid(16400), nullptr);
  EXPECT_EQ(origins(snapshot->by_oid(16400)->attribute(3)), "public.cards.pan");
  EXPECT_EQ(snapshot->by_oid(16400)->attribute(2), nullptr);  // dropped
  EXPECT_EQ(snapshot->by_oid(9), nullptr);
  EXPECT_EQ(snapshot->by_name("cards").size(), 1u);
  EXPECT_TRUE(snapshot->by_name("nosuch").empty());
  EXPECT_FALSE(snapshot->by_name("pg_class")[0]->own);
}

TEST(Snapshot, ARenamedColumnKeepsItsFormerNames) {
  FormerNames former;
  (void)Snapshot::build(cards(), former);
  Rows later = cards();
  later.relations[0].name = "old_cards";
  later.columns[1].name = "harmless";
  const auto snapshot = Snapshot::build(later, former);
  EXPECT_EQ(origins(snapshot->by_oid(16400)->attribute(3)), "public.old_cards.harmless public.cards.pan");
  // Another relation under the old name begins anew, and what is gone is forgotten.
  Rows again = cards();
  again.relations[0].oid = again.columns[0].relation = again.columns[1].relation = 16500;
  again.columns[1].name = "other";
  EXPECT_EQ(origins(Snapshot::build(again, former)->by_oid(16500)->attribute(3)), "public.cards.other");
  EXPECT_EQ(origins(Snapshot::build(cards(), former)->by_oid(16400)->attribute(3)), "public.cards.pan");
}

TEST(Snapshot, PartitionsBelongToTheirParents) {
  Rows rows = cards();
  rows.relations.push_back({16402, "archive", "cards_1", 'r', ""});
  rows.columns.push_back({16402, 5, "pan", false});
  rows.columns.push_back({16402, 6, "own", false});
  rows.inherits = {{16402, 16400}};
  FormerNames former;
  const auto snapshot = Snapshot::build(rows, former);
  EXPECT_EQ(origins(snapshot->by_oid(16402)->attribute(5)), "archive.cards_1.pan public.cards.pan");
  EXPECT_EQ(origins(snapshot->by_oid(16402)->attribute(6)), "archive.cards_1.own");
}

Rows with_view(const std::string& definition, size_t columns = 1) {
  Rows rows = cards();
  rows.relations.push_back({16399, "public", "v", 'v', definition});  // before its table, so that order is tried
  for (size_t i = 0; i < columns; ++i)
    rows.columns.push_back({16399, static_cast<uint16_t>(i + 1), "c" + std::to_string(i + 1), false});
  return rows;
}

TEST(Snapshot, ViewsAreSeenThrough) {
  const auto first = [](const Rows& rows) {
    FormerNames former;
    return origins(Snapshot::build(rows, former)->by_oid(16399)->attribute(1));
  };
  EXPECT_EQ(first(with_view("SELECT reverse(cards.pan) AS c1 FROM public.cards")), "public.v.c1 public.cards.pan");
  EXPECT_EQ(first(with_view("SELECT notes.note FROM public.notes")), "public.v.c1 public.notes.note");
  EXPECT_EQ(first(with_view("SELECT row_to_json(cards.*) FROM public.cards")),
            "public.v.c1 public.cards.id public.cards.pan");
  EXPECT_EQ(first(with_view("SELECT secret.f(1)")), "public.v.c1 ?");
  EXPECT_EQ(first(with_view("SELECT nosuch.x FROM public.nosuch")), "public.v.c1 ?");
  EXPECT_EQ(first(with_view("SELECT cards.pan, cards.id FROM public.cards")), "public.v.c1 ?");  // does not fit
  EXPECT_EQ(first(with_view("no sql at all")), "public.v.c1 ?");
  EXPECT_EQ(first(with_view("SELECT v.c1 FROM public.v")), "public.v.c1 ?");  // of itself: cannot be
  EXPECT_EQ(first(with_view("SELECT pg_class.relname FROM pg_class")), "public.v.c1");
}

TEST(Snapshot, ViewsOverViews) {
  Rows rows = with_view("SELECT upper(w.x) FROM public.w");
  rows.relations.push_back({16410, "public", "w", 'v', "SELECT cards.pan AS x FROM public.cards"});
  rows.columns.push_back({16410, 1, "x", false});
  FormerNames former;
  EXPECT_EQ(origins(Snapshot::build(rows, former)->by_oid(16399)->attribute(1)),
            "public.v.c1 public.w.x public.cards.pan");
}

TEST(Catalog, IsFreshOnlyAfterAReadingThatBeganAfterTheLastChange) {
  Catalog catalog;
  FormerNames former;
  EXPECT_TRUE(catalog.reading());
  EXPECT_FALSE(catalog.current().fresh);
  const auto first = catalog.wait(10'000);
  catalog.answer(first, Snapshot::build(cards(), former));
  EXPECT_TRUE(catalog.current().fresh);
  EXPECT_FALSE(catalog.reading());
  const uint64_t epoch = catalog.epoch();

  catalog.begin_change();
  EXPECT_FALSE(catalog.current().fresh);
  EXPECT_FALSE(catalog.reading());  // no reading would help yet
  catalog.end_change(Catalog::Changed::no);
  EXPECT_TRUE(catalog.current().fresh);

  catalog.begin_change();
  catalog.end_change(Catalog::Changed::yes);
  EXPECT_TRUE(catalog.reading());
  EXPECT_FALSE(catalog.current().fresh);
  const auto second = catalog.wait(10'000);
  catalog.begin_change();
  catalog.end_change(Catalog::Changed::yes);  // while it was being read
  catalog.confirm(second);
  EXPECT_FALSE(catalog.current().fresh);
  catalog.confirm(catalog.wait(10'000));
  EXPECT_TRUE(catalog.current().fresh);
  EXPECT_GT(catalog.epoch(), epoch);
}

TEST(Catalog, AFailedReadingLeavesNothingKnownAndNobodyWaiting) {
  Catalog catalog;
  catalog.answer(catalog.wait(10'000), nullptr);
  EXPECT_EQ(catalog.current().snapshot, nullptr);
  EXPECT_FALSE(catalog.reading());
  catalog.begin_change();
  catalog.end_change(Catalog::Changed::yes);
  EXPECT_FALSE(catalog.reading());
  catalog.stop();
  EXPECT_TRUE(catalog.wait(10'000).stopping);
}

}  // namespace
}  // namespace sluice::catalog
