// libpg_query 15-4.0.0 loses a byte on every PL/pgSQL block that it refuses (parsers/sql/grammar.cc bounds that);
// everything else that leaks is ours and fails the test.
extern "C" const char* __lsan_default_suppressions();
extern "C" const char* __lsan_default_suppressions() {
  return "leak:pg_query_raw_parse\n";
}
