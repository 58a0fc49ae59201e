import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.nio.charset.StandardCharsets;
import java.sql.BatchUpdateException;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.Statement;
import java.util.Arrays;
import java.util.List;
import java.util.Set;
import java.util.LinkedHashMap;
import java.util.Map;
import org.postgresql.PGConnection;
import org.postgresql.PGNotification;
import org.postgresql.largeobject.LargeObject;
import org.postgresql.largeobject.LargeObjectManager;
import org.postgresql.util.PSQLException;

/**
 * pgjdbc through Sluice. Prints one line for each check, "ok NAME" or "FAIL NAME why"; tests/integration/drivers.py reads them.
 * usage: java Client HOST PORT [CHECK...]
 */
public class Client {
  static final String PAN = "4111111111111111", MASKED = "411111******1111";
  static final long PAN_BIG = 4111111111111111L, MASKED_BIG = 4111110000011111L;
  static final String RAISE = "do $$ begin raise notice 'card %', '41111111' || '11111111';"
      + " raise exception 'declined %', '41111111' || '11111111' using detail = 'number 5555555555554444'; end $$";
  static String url;

  interface Check { void run() throws Exception; }

  static Connection connect(String options) throws SQLException {
    return DriverManager.getConnection(url + "?user=postgres&socketTimeout=60&" + options);
  }

  static void equal(Object got, Object wanted) {
    if (!String.valueOf(got).equals(String.valueOf(wanted))) throw new AssertionError(got + " is not " + wanted);
  }

  interface Work { void run() throws SQLException; }

  static String code(Work work) {
    try {
      work.run();
      return "no error";
    } catch (SQLException error) {
      return error.getSQLState();
    }
  }

  static int number(Connection connection, String sql) throws SQLException {
    try (Statement statement = connection.createStatement(); ResultSet rows = statement.executeQuery(sql)) {
      rows.next();
      return rows.getInt(1);
    }
  }

  /** The same row read again and again: first unnamed and in text, then named, and in binary where the driver can. */
  static void cards(String options) throws Exception {
    try (Connection connection = connect(options);
         PreparedStatement statement =
             connection.prepareStatement("select pan, pan_big, pan_numeric, pan_bytes, pan_texts, pan_bigs from cards where id = ?")) {
      for (int i = 0; i < 12; i++) {
        statement.setInt(1, 1);
        try (ResultSet row = statement.executeQuery()) {
          row.next();
          equal(row.getString(1), MASKED);
          equal(row.getLong(2), MASKED_BIG);
          equal(row.getBigDecimal(3).toPlainString(), MASKED_BIG);
          equal(new String(row.getBytes(4), StandardCharsets.US_ASCII), MASKED);
          equal(Arrays.toString((Object[]) row.getArray(5).getArray()), "[" + MASKED + ", x]");
          equal(Arrays.toString((Object[]) row.getArray(6).getArray()), "[" + MASKED_BIG + "]");
        }
      }
    }
  }

  static void blocked(String options) throws Exception {
    try (Connection connection = connect(options); Statement statement = connection.createStatement()) {
      for (int i = 0; i < 3; i++) {
        equal(code(() -> statement.executeUpdate("truncate plain")), "42501");
        equal(code(() -> { try (PreparedStatement prepared = connection.prepareStatement("truncate plain")) { prepared.execute(); } }), "42501");
        equal(number(connection, "select count(*) from plain"), 1000);
      }
      try {
        statement.executeUpdate("truncate plain");
      } catch (PSQLException error) {
        if (!error.getServerErrorMessage().getMessage().contains("no-truncate")) throw new AssertionError("the rule is not named: " + error);
      }
    }
  }

  static void blockedInTransaction() throws Exception {
    try (Connection connection = connect(""); Statement statement = connection.createStatement()) {
      connection.setAutoCommit(false);
      equal(number(connection, "select 1"), 1);
      equal(code(() -> statement.executeUpdate("truncate plain")), "42501");
      equal(code(() -> statement.executeQuery("select 1")), "25P02");
      connection.rollback();
      equal(number(connection, "select 2"), 2);
      connection.commit();
    }
  }

  /** autosave=always: the driver sets a savepoint before each statement and goes back to it after an error. */
  static void autosave() throws Exception {
    try (Connection connection = connect("autosave=always"); Statement statement = connection.createStatement()) {
      connection.setAutoCommit(false);
      for (int i = 0; i < 8; i++) {
        equal(number(connection, "select count(*) from plain"), 1000);
        equal(code(() -> statement.executeUpdate("truncate plain")), "42501");
        equal(code(() -> statement.executeQuery("select 1/0")), "22012");
      }
      connection.commit();
    }
  }

  static void copyText() throws Exception {
    try (Connection connection = connect(""); Statement statement = connection.createStatement()) {
      statement.execute("create temp table copied (i int, pan text)");
      StringBuilder lines = new StringBuilder();
      for (int i = 0; i < 2000; i++) lines.append(i).append('\t').append(PAN).append('\n');
      var copies = connection.unwrap(PGConnection.class).getCopyAPI();
      byte[] in = lines.toString().getBytes(StandardCharsets.US_ASCII);
      equal(copies.copyIn("copy copied from stdin", new ByteArrayInputStream(in)), 2000);
      equal(number(connection, "select count(*) from copied where pan = '41111111' || '11111111'"), 2000);
      ByteArrayOutputStream out = new ByteArrayOutputStream();
      copies.copyOut("copy copied to stdout", out);
      String text = out.toString(StandardCharsets.US_ASCII);
      equal(text.split("\\Q" + MASKED, -1).length - 1, 2000);
      equal(text.contains(PAN), false);
    }
  }

  static void copyBinary() throws Exception {
    try (Connection connection = connect(""); Statement statement = connection.createStatement()) {
      statement.execute("create temp table copied_binary as select i, '" + PAN + "'::text as pan from generate_series(1, 2000) i");
      statement.execute("create temp table back (i int, pan text)");
      var copies = connection.unwrap(PGConnection.class).getCopyAPI();
      ByteArrayOutputStream out = new ByteArrayOutputStream();
      copies.copyOut("copy copied_binary to stdout (format binary)", out);
      String text = out.toString(StandardCharsets.ISO_8859_1);
      equal(text.split("\\Q" + MASKED, -1).length - 1, 2000);
      equal(text.contains(PAN), false);
      byte[] whole = text.replace(MASKED, PAN).getBytes(StandardCharsets.ISO_8859_1);  // masked numbers are not written back
      equal(copies.copyIn("copy back from stdin (format binary)", new ByteArrayInputStream(whole)), 2000);
      try (ResultSet result = statement.executeQuery("select count(*) from back where pan = '41111111' || '11111111'")) {
        result.next();
        equal(result.getInt(1), 2000);
      }
    }
  }

  /** A batch is the driver's pipeline: many Bind and Execute, few Sync. */
  static void batch(String options) throws Exception {
    try (Connection connection = connect(options); Statement statement = connection.createStatement()) {
      statement.execute("create temp table batched (i int, t text)");
      try (PreparedStatement insert = connection.prepareStatement("insert into batched values (?, ?)")) {
        for (int round = 0; round < 3; round++) {
          for (int i = 0; i < 1000; i++) {
            insert.setInt(1, i);
            insert.setString(2, "text " + i);
            insert.addBatch();
          }
          equal(insert.executeBatch().length, 1000);
        }
      }
      equal(number(connection, "select count(*) from batched"), 3000);
      statement.addBatch("insert into batched values (1, 'one')");
      statement.addBatch("truncate plain");
      statement.addBatch("insert into batched values (2, 'two')");
      try {
        statement.executeBatch();
        throw new AssertionError("truncate was let through");
      } catch (BatchUpdateException error) {
        equal(error.getSQLState(), "42501");
      }
      equal(number(connection, "select count(*) from plain"), 1000);
    }
  }

  /** setFetchSize makes the driver fetch a portal in parts. */
  static void cursor() throws Exception {
    try (Connection connection = connect("");
         PreparedStatement statement = connection.prepareStatement("select p.id, c.pan from plain p, cards c where c.id = 1 order by 1")) {
      connection.setAutoCommit(false);
      statement.setFetchSize(7);
      for (int round = 0; round < 7; round++) {
        int count = 0;
        try (ResultSet rows = statement.executeQuery()) {
          while (rows.next()) {
            equal(rows.getInt(1), ++count);
            equal(rows.getString(2), MASKED);
          }
        }
        equal(count, 1000);
      }
      connection.commit();
    }
  }

  static void cancel() throws Exception {
    try (Connection connection = connect(""); Statement statement = connection.createStatement()) {
      Thread canceller = new Thread(() -> {
        try {
          Thread.sleep(300);
          statement.cancel();
        } catch (Exception error) {
          throw new AssertionError(error);
        }
      });
      canceller.start();
      equal(code(() -> statement.executeQuery("select pg_sleep(30)")), "57014");
      canceller.join();
      statement.setQueryTimeout(1);
      equal(code(() -> statement.executeQuery("select pg_sleep(30)")), "57014");
      statement.setQueryTimeout(0);
      equal(number(connection, "select 1"), 1);
    }
  }

  static void notifications() throws Exception {
    try (Connection connection = connect(""); Statement statement = connection.createStatement()) {
      statement.execute("listen jdbc");
      statement.execute("select pg_notify('jdbc', '41111111' || '11111111')");
      PGNotification[] notified = connection.unwrap(PGConnection.class).getNotifications(10_000);
      equal(notified.length, 1);
      equal(notified[0].getParameter(), MASKED);
    }
  }

  /** Through the function-call messages, which is how this driver reads and writes large objects. */
  static void largeObject() throws Exception {
    byte[] data = new byte[1 << 20];
    for (int i = 0; i < data.length; i++) data[i] = (byte) (i % 251);
    try (Connection connection = connect("")) {
      connection.setAutoCommit(false);
      LargeObjectManager objects = connection.unwrap(PGConnection.class).getLargeObjectAPI();
      long oid = objects.createLO(LargeObjectManager.READWRITE);
      try (LargeObject object = objects.open(oid, LargeObjectManager.READWRITE)) {
        object.write(data);
        object.seek(0);
        equal(Arrays.equals(object.read(data.length), data), true);
        object.seek(0);
        object.write(("pan " + PAN + " end").getBytes(StandardCharsets.US_ASCII));
        object.seek(0);
        equal(new String(object.read(24), StandardCharsets.US_ASCII), "pan " + MASKED + " end");
      }
      objects.delete(oid);
      connection.commit();
    }
  }

  static void errors() throws Exception {
    try (Connection connection = connect(""); Statement statement = connection.createStatement()) {
      try {
        statement.execute(RAISE);
        throw new AssertionError("no error");
      } catch (PSQLException error) {
        equal(error.getServerErrorMessage().getMessage(), "declined " + MASKED);
        equal(error.getServerErrorMessage().getDetail(), "number 555555******4444");
      }
      equal(code(() -> statement.execute("select 1/0")), "22012");
    }
  }

  static void metadata() throws Exception {
    try (Connection connection = connect("")) {
      try (ResultSet columns = connection.getMetaData().getColumns(null, "public", "cards", null)) {
        int count = 0;
        while (columns.next()) count++;
        equal(count, 10);
      }
      try (ResultSet keys = connection.getMetaData().getPrimaryKeys(null, "public", "cards")) {
        keys.next();
        equal(keys.getString("COLUMN_NAME"), "id");
      }
      try (PreparedStatement statement = connection.prepareStatement("select * from cards where pan = ?")) {
        equal(statement.getParameterMetaData().getParameterTypeName(1), "text");
        equal(statement.getMetaData().getColumnCount(), 10);
      }
    }
  }

  public static void main(String[] arguments) {
    url = "jdbc:postgresql://" + arguments[0] + ":" + arguments[1] + "/postgres";
    Map<String, Check> checks = new LinkedHashMap<>();
    checks.put("prepared", () -> cards(""));
    checks.put("prepared_at_once", () -> cards("prepareThreshold=1"));
    checks.put("prepared_binary", () -> cards("prepareThreshold=-1"));
    checks.put("never_prepared", () -> cards("prepareThreshold=0"));
    checks.put("text_only", () -> cards("binaryTransfer=false&prepareThreshold=1"));
    checks.put("simple", () -> cards("preferQueryMode=simple"));
    checks.put("cached_everything", () -> cards("preferQueryMode=extendedCacheEverything"));
    checks.put("blocked", () -> blocked(""));
    checks.put("blocked_prepared", () -> blocked("prepareThreshold=-1"));
    checks.put("blocked_simple", () -> blocked("preferQueryMode=simple"));
    checks.put("blocked_in_transaction", Client::blockedInTransaction);
    checks.put("autosave", Client::autosave);
    checks.put("copy_text", Client::copyText);
    checks.put("copy_binary", Client::copyBinary);
    checks.put("pipeline", () -> batch(""));
    checks.put("pipeline_rewritten", () -> batch("reWriteBatchedInserts=true"));
    checks.put("cursor", Client::cursor);
    checks.put("cancel", Client::cancel);
    checks.put("notifications", Client::notifications);
    checks.put("large_object", Client::largeObject);
    checks.put("errors", Client::errors);
    checks.put("metadata", Client::metadata);
    Set<String> wanted = Set.copyOf(List.of(arguments).subList(2, arguments.length));
    checks.forEach((name, check) -> {
      if (!wanted.isEmpty() && !wanted.contains(name)) return;
      try {
        check.run();
        System.out.println("ok " + name);
      } catch (Throwable error) {
        System.out.println("FAIL " + name + " " + (error + " " + Arrays.toString(error.getStackTrace())).replace('\n', ' '));
      }
    });
  }
}
