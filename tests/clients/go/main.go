// pgx through Sluice. Prints one line for each check, "ok NAME" or "FAIL NAME why"; tests/integration/drivers.py reads them.
// usage: client HOST PORT [CHECK...]
package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

const (
	pan       = "4111111111111111"
	panBig    = int64(4111111111111111)
	masked    = "411111******1111"
	maskedBig = int64(4111110000011111)
	raise     = `do $$ begin raise notice 'card %', '41111111' || '11111111';
  raise exception 'declined %', '41111111' || '11111111' using detail = 'number 5555555555554444'; end $$`
)

func equal(what string, got, wanted any) error {
	if fmt.Sprint(got) != fmt.Sprint(wanted) {
		return fmt.Errorf("%s: %v is not %v", what, got, wanted)
	}
	return nil
}

func sqlstate(err error) string {
	var refusal *pgconn.PgError
	if errors.As(err, &refusal) {
		return refusal.Code
	}
	return fmt.Sprint(err)
}

// cards reads the first card with every query mode that uses it again and again.
func cards(mode pgx.QueryExecMode) func(context.Context, *pgx.Conn) error {
	return func(ctx context.Context, conn *pgx.Conn) error {
		for range 8 {
			var text string
			var big int64
			var texts []string
			var bigs []int64
			var raw []byte
			err := conn.QueryRow(ctx, "select pan, pan_big, pan_texts, pan_bigs, pan_bytes from cards where id = $1", mode, 1).
				Scan(&text, &big, &texts, &bigs, &raw)
			if err != nil {
				return err
			}
			if err := equal("row", []any{text, big, texts, bigs, string(raw)}, []any{masked, maskedBig, []string{masked, "x"}, []int64{maskedBig}, masked}); err != nil {
				return err
			}
		}
		return nil
	}
}

func blocked(ctx context.Context, conn *pgx.Conn) error {
	for _, mode := range []pgx.QueryExecMode{pgx.QueryExecModeCacheStatement, pgx.QueryExecModeSimpleProtocol, pgx.QueryExecModeExec} {
		_, err := conn.Exec(ctx, "truncate plain", mode)
		if err := equal("code", sqlstate(err), "42501"); err != nil {
			return err
		}
		if !strings.Contains(err.Error(), "no-truncate") {
			return fmt.Errorf("the rule is not named: %w", err)
		}
	}
	var count int
	if err := conn.QueryRow(ctx, "select count(*) from plain").Scan(&count); err != nil {
		return err
	}
	return equal("rows", count, 1000)
}

func blockedInTransaction(ctx context.Context, conn *pgx.Conn) error {
	transaction, err := conn.Begin(ctx)
	if err != nil {
		return err
	}
	_, err = transaction.Exec(ctx, "truncate plain")
	if err := equal("code", sqlstate(err), "42501"); err != nil {
		return err
	}
	_, err = transaction.Exec(ctx, "select 1")
	if err := equal("code after it", sqlstate(err), "25P02"); err != nil {
		return err
	}
	if err := transaction.Rollback(ctx); err != nil {
		return err
	}
	return conn.Ping(ctx)
}

func copyText(ctx context.Context, conn *pgx.Conn) error {
	if _, err := conn.Exec(ctx, "create temp table copied (i int, pan text)"); err != nil {
		return err
	}
	var in bytes.Buffer
	for i := range 2000 {
		fmt.Fprintf(&in, "%d\t%s\n", i, pan)
	}
	tag, err := conn.PgConn().CopyFrom(ctx, &in, "copy copied from stdin")
	if err != nil {
		return err
	}
	var out bytes.Buffer
	if _, err := conn.PgConn().CopyTo(ctx, &out, "copy copied to stdout"); err != nil {
		return err
	}
	return equal("rows in, masked out, raw out", []any{tag.RowsAffected(), strings.Count(out.String(), masked), strings.Count(out.String(), pan)}, []any{2000, 2000, 0})
}

func copyBinary(ctx context.Context, conn *pgx.Conn) error {
	if _, err := conn.Exec(ctx, "create temp table copied_binary (i int, pan text, big bigint)"); err != nil {
		return err
	}
	count, err := conn.CopyFrom(ctx, pgx.Identifier{"copied_binary"}, []string{"i", "pan", "big"},
		pgx.CopyFromSlice(2000, func(i int) ([]any, error) { return []any{i, pan, panBig}, nil }))
	if err != nil {
		return err
	}
	var inside int
	if err := conn.QueryRow(ctx, "select count(*) from copied_binary where pan = '41111111' || '11111111' and big::text = pan").Scan(&inside); err != nil {
		return err
	}
	var out bytes.Buffer
	if _, err := conn.PgConn().CopyTo(ctx, &out, "copy copied_binary to stdout (format binary)"); err != nil {
		return err
	}
	return equal("rows in, in the table, masked out, raw out",
		[]any{count, inside, strings.Count(out.String(), masked), strings.Count(out.String(), pan)}, []any{2000, 2000, 2000, 0})
}

func pipeline(ctx context.Context, conn *pgx.Conn) error {
	batch := &pgx.Batch{}
	for i := range 100 {
		batch.Queue("select $1::int + 1", i)
	}
	results := conn.SendBatch(ctx, batch)
	for i := range 100 {
		var got int
		if err := results.QueryRow().Scan(&got); err != nil {
			return err
		}
		if got != i+1 {
			return equal("answer", got, i+1)
		}
	}
	if err := results.Close(); err != nil {
		return err
	}
	// One Sync for all: what stands behind the refused one is skipped, as after any error.
	batch = &pgx.Batch{}
	batch.Queue("select 1")
	batch.Queue("truncate plain")
	batch.Queue("select 3")
	for _, mode := range []pgx.QueryExecMode{pgx.QueryExecModeExec, pgx.QueryExecModeCacheStatement} {
		conn, err := pgx.ConnectConfig(ctx, configured(conn.Config(), mode))
		if err != nil {
			return err
		}
		err = conn.SendBatch(ctx, batch).Close()
		if err := errors.Join(equal("code", sqlstate(err), "42501"), conn.Ping(ctx), conn.Close(ctx)); err != nil {
			return err
		}
	}
	pipe := conn.PgConn().StartPipeline(ctx)
	pipe.SendQueryParams("select pan from cards where id = 1", nil, nil, nil, nil)
	pipe.SendQueryParams("truncate plain", nil, nil, nil, nil)
	pipe.SendQueryParams("select 3", nil, nil, nil, nil)
	if err := pipe.Sync(); err != nil {
		return err
	}
	first, err := pipe.GetResults()
	if err != nil {
		return err
	}
	read := first.(*pgconn.ResultReader).Read()
	if err := equal("first", string(read.Rows[0][0]), masked); err != nil {
		return err
	}
	_, err = pipe.GetResults()
	return errors.Join(equal("code", sqlstate(err), "42501"), pipe.Close(), conn.Ping(ctx))
}

func configured(config *pgx.ConnConfig, mode pgx.QueryExecMode) *pgx.ConnConfig {
	config = config.Copy()
	config.DefaultQueryExecMode = mode
	return config
}

func cursor(ctx context.Context, conn *pgx.Conn) error {
	transaction, err := conn.Begin(ctx)
	if err != nil {
		return err
	}
	defer transaction.Rollback(ctx)
	if _, err := transaction.Exec(ctx, "declare c cursor for select pan from cards order by id"); err != nil {
		return err
	}
	rows, err := transaction.Query(ctx, "fetch 2 from c")
	if err != nil {
		return err
	}
	values, err := pgx.CollectRows(rows, pgx.RowTo[string])
	return errors.Join(err, equal("fetched", values, []string{masked, "555555******4444"}))
}

func cancel(ctx context.Context, conn *pgx.Conn) error {
	// The driver itself cancels when its context ends, and gives the connection back once the server has answered.
	go func() {
		time.Sleep(300 * time.Millisecond)
		conn.PgConn().CancelRequest(ctx)
	}()
	_, err := conn.Exec(ctx, "select pg_sleep(30)")
	return errors.Join(equal("code", sqlstate(err), "57014"), conn.Ping(ctx))
}

func notifications(ctx context.Context, conn *pgx.Conn) error {
	if _, err := conn.Exec(ctx, "listen pgx"); err != nil {
		return err
	}
	if _, err := conn.Exec(ctx, "select pg_notify('pgx', '41111111' || '11111111')"); err != nil {
		return err
	}
	notification, err := conn.WaitForNotification(ctx)
	if err != nil {
		return err
	}
	return equal("payload", notification.Payload, masked)
}

func largeObject(ctx context.Context, conn *pgx.Conn) error {
	data := make([]byte, 1<<20)
	for i := range data {
		data[i] = byte(i % 251)
	}
	transaction, err := conn.Begin(ctx)
	if err != nil {
		return err
	}
	defer transaction.Rollback(ctx)
	objects := transaction.LargeObjects()
	oid, err := objects.Create(ctx, 0)
	if err != nil {
		return err
	}
	object, err := objects.Open(ctx, oid, pgx.LargeObjectModeRead|pgx.LargeObjectModeWrite)
	if err != nil {
		return err
	}
	if _, err := object.Write(data); err != nil {
		return err
	}
	if _, err := object.Seek(0, io.SeekStart); err != nil {
		return err
	}
	back, err := io.ReadAll(object)
	if err != nil {
		return err
	}
	if !bytes.Equal(back, data) {
		return errors.New("the object came back changed")
	}
	return objects.Unlink(ctx, oid)
}

func failures(ctx context.Context, conn *pgx.Conn) error {
	_, err := conn.Exec(ctx, raise)
	var raised *pgconn.PgError
	if !errors.As(err, &raised) {
		return fmt.Errorf("not an error of the server: %w", err)
	}
	if err := equal("error", []string{raised.Message, raised.Detail}, []string{"declined " + masked, "number 555555******4444"}); err != nil {
		return err
	}
	_, err = conn.Exec(ctx, "select 1/0")
	return equal("code", sqlstate(err), "22012")
}

func pool(ctx context.Context, conn *pgx.Conn) error {
	config, err := pgxpool.ParseConfig(conn.Config().ConnString())
	if err != nil {
		return err
	}
	config.MaxConns = 8
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return err
	}
	defer pool.Close()
	var group sync.WaitGroup
	failed := make(chan error, 400)
	for i := range 400 {
		group.Add(1)
		go func() {
			defer group.Done()
			var id int
			var note, text string
			err := pool.QueryRow(ctx, "select p.id, note, c.pan from plain p, cards c where p.id = $1 and c.id = 1", i+1).Scan(&id, &note, &text)
			if err == nil {
				err = equal("row", []any{id, note, text}, []any{i + 1, fmt.Sprintf("note %d", i+1), masked})
			}
			if err != nil {
				failed <- err
			}
		}()
	}
	group.Wait()
	close(failed)
	return <-failed
}

var checks = []struct {
	name string
	run  func(context.Context, *pgx.Conn) error
}{
	{"prepared", cards(pgx.QueryExecModeCacheStatement)}, {"described", cards(pgx.QueryExecModeCacheDescribe)},
	{"described_each", cards(pgx.QueryExecModeDescribeExec)}, {"unprepared", cards(pgx.QueryExecModeExec)}, {"simple", cards(pgx.QueryExecModeSimpleProtocol)},
	{"blocked", blocked}, {"blocked_in_transaction", blockedInTransaction}, {"copy_text", copyText}, {"copy_binary", copyBinary},
	{"pipeline", pipeline}, {"cursor", cursor}, {"cancel", cancel}, {"notifications", notifications}, {"large_object", largeObject},
	{"errors", failures}, {"pool", pool},
}

func main() {
	wanted := strings.Join(os.Args[3:], " ")
	for _, check := range checks {
		if wanted != "" && !strings.Contains(" "+wanted+" ", " "+check.name+" ") {
			continue
		}
		ctx, stop := context.WithTimeout(context.Background(), time.Minute)
		conn, err := pgx.Connect(ctx, fmt.Sprintf("host=%s port=%s user=postgres dbname=postgres sslmode=prefer", os.Args[1], os.Args[2]))
		if err == nil {
			err = check.run(ctx, conn)
			conn.Close(ctx)
		}
		stop()
		if err != nil {
			fmt.Println("FAIL", check.name, strings.ReplaceAll(err.Error(), "\n", " "))
		} else {
			fmt.Println("ok", check.name)
		}
	}
}
