//! tokio-postgres through Sluice. Prints one line for each check, "ok NAME" or "FAIL NAME why"; tests/integration/drivers.py reads them.
//! usage: client HOST PORT [CHECK...]
use std::error::Error;
use std::future::{poll_fn, Future};
use std::pin::{pin, Pin};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{future, SinkExt, StreamExt, TryStreamExt};
use tokio_postgres::binary_copy::{BinaryCopyInWriter, BinaryCopyOutStream};
use tokio_postgres::types::Type;
use tokio_postgres::{AsyncMessage, Client, Config, NoTls, SimpleQueryMessage};

type Outcome = Result<(), Box<dyn Error>>;

const PAN: &str = "4111111111111111";
const PAN_BIG: i64 = 4111111111111111;
const MASKED: &str = "411111******1111";
const MASKED_BIG: i64 = 4111110000011111;
const RAISE: &str = "do $$ begin raise notice 'card %', '41111111' || '11111111';
  raise exception 'declined %', '41111111' || '11111111' using detail = 'number 5555555555554444'; end $$";

macro_rules! equal {
    ($left:expr, $right:expr) => {
        let (left, right) = (&$left, &$right);
        if left != right {
            return Err(format!("line {}: {:?} is not {:?}", line!(), left, right).into());
        }
    };
}

fn sqlstate<T>(result: Result<T, tokio_postgres::Error>) -> String {
    match result {
        Ok(_) => "no error".into(),
        Err(error) => error
            .code()
            .map_or_else(|| error.to_string(), |code| code.code().into()),
    }
}

async fn prepared(client: &Client) -> Outcome {
    let statement = client
        .prepare("select pan, pan_big, pan_texts, pan_bigs, pan_bytes from cards where id = $1")
        .await?;
    for _ in 0..8 {
        let row = client.query_one(&statement, &[&1i32]).await?;
        equal!(row.get::<_, &str>(0), MASKED);
        equal!(row.get::<_, i64>(1), MASKED_BIG);
        equal!(
            row.get::<_, Vec<String>>(2),
            vec![MASKED.to_string(), "x".to_string()]
        );
        equal!(row.get::<_, Vec<i64>>(3), vec![MASKED_BIG]);
        equal!(row.get::<_, &[u8]>(4), MASKED.as_bytes());
    }
    Ok(())
}

async fn simple(client: &Client) -> Outcome {
    let messages = client
        .simple_query("select pan, pan_big from cards where id = 1; select count(*) from plain")
        .await?;
    let rows: Vec<_> = messages
        .iter()
        .filter_map(|m| {
            if let SimpleQueryMessage::Row(row) = m {
                Some(row)
            } else {
                None
            }
        })
        .collect();
    equal!(rows[0].get(0), Some(MASKED));
    equal!(rows[0].get(1), Some("4111110000011111"));
    equal!(rows[1].get(0), Some("1000"));
    Ok(())
}

async fn blocked(client: &Client) -> Outcome {
    let error = client
        .execute("truncate plain", &[])
        .await
        .err()
        .ok_or("truncate was let through")?;
    let refusal = error.as_db_error().ok_or("not an error of the server")?;
    equal!(refusal.code().code(), "42501");
    equal!(refusal.message().contains("no-truncate"), true);
    equal!(
        sqlstate(client.batch_execute("truncate plain").await),
        "42501"
    );
    equal!(
        client
            .query_one("select count(*) from plain", &[])
            .await?
            .get::<_, i64>(0),
        1000
    );
    Ok(())
}

async fn blocked_in_transaction(client: &mut Client) -> Outcome {
    let transaction = client.transaction().await?;
    equal!(
        sqlstate(transaction.execute("truncate plain", &[]).await),
        "42501"
    );
    equal!(sqlstate(transaction.query("select 1", &[]).await), "25P02");
    transaction.rollback().await?;
    let mut transaction = client.transaction().await?;
    let savepoint = transaction.savepoint("s").await?;
    equal!(
        sqlstate(savepoint.execute("truncate plain", &[]).await),
        "42501"
    );
    savepoint.rollback().await?;
    equal!(
        transaction
            .query_one("select 2", &[])
            .await?
            .get::<_, i32>(0),
        2
    );
    transaction.commit().await?;
    Ok(())
}

async fn copy_text(client: &Client) -> Outcome {
    client
        .batch_execute("create temp table copied (i int, pan text)")
        .await?;
    let mut sink = pin!(client.copy_in("copy copied from stdin").await?);
    for i in 0..2000 {
        sink.send(Bytes::from(format!("{i}\t{PAN}\n"))).await?;
    }
    equal!(sink.as_mut().finish().await?, 2000);
    equal!(
        client
            .query_one(
                "select count(*) from copied where pan = '41111111' || '11111111'",
                &[]
            )
            .await?
            .get::<_, i64>(0),
        2000
    );
    let chunks: Vec<Bytes> = client
        .copy_out("copy copied to stdout")
        .await?
        .try_collect()
        .await?;
    let text = String::from_utf8(chunks.concat())?;
    equal!(
        (text.matches(MASKED).count(), text.contains(PAN)),
        (2000, false)
    );
    Ok(())
}

async fn copy_binary(client: &Client) -> Outcome {
    client
        .batch_execute("create temp table copied_binary (i int, pan text, big bigint)")
        .await?;
    let types = [Type::INT4, Type::TEXT, Type::INT8];
    let mut writer = pin!(BinaryCopyInWriter::new(
        client
            .copy_in("copy copied_binary from stdin binary")
            .await?,
        &types
    ));
    for i in 0..2000i32 {
        writer.as_mut().write(&[&i, &PAN, &PAN_BIG]).await?;
    }
    equal!(writer.finish().await?, 2000);
    let stream = BinaryCopyOutStream::new(
        client
            .copy_out("copy copied_binary to stdout binary")
            .await?,
        &types,
    );
    let rows: Vec<_> = stream.try_collect().await?;
    equal!(rows.len(), 2000);
    for (i, row) in rows.iter().enumerate() {
        equal!(
            (row.get::<i32>(0), row.get::<&str>(1), row.get::<i64>(2)),
            (i as i32, MASKED, MASKED_BIG)
        );
    }
    Ok(())
}

async fn pipeline(client: &Client) -> Outcome {
    let statement = client.prepare("select $1::int + 1").await?;
    let numbers: Vec<i32> = (0..100).collect();
    let answers = future::try_join_all(numbers.iter().map(|i| {
        let statement = &statement;
        async move { client.query_one(statement, &[i]).await }
    }))
    .await?;
    for (i, row) in answers.iter().enumerate() {
        equal!(row.get::<_, i32>(0), i as i32 + 1);
    }
    let (one, two, three) = future::join3(
        client.query_one("select 1", &[]),
        client.execute("truncate plain", &[]),
        client.query_one("select 3", &[]),
    )
    .await;
    equal!(
        (
            one?.get::<_, i32>(0),
            sqlstate(two),
            three?.get::<_, i32>(0)
        ),
        (1, "42501".to_string(), 3)
    );
    Ok(())
}

async fn portal(client: &mut Client) -> Outcome {
    let transaction = client.transaction().await?;
    let portal = transaction
        .bind("select id, pan from cards order by id", &[])
        .await?;
    let (first, rest) = (
        transaction.query_portal(&portal, 2).await?,
        transaction.query_portal(&portal, 0).await?,
    );
    equal!((first.len(), rest.len()), (2, 4));
    equal!(first[0].get::<_, &str>(1), MASKED);
    equal!(
        rest.iter().all(|row| row.get::<_, &str>(1).contains("***")),
        true
    );
    transaction.commit().await?;
    Ok(())
}

async fn cancel(client: &Client) -> Outcome {
    let token = client.cancel_token();
    let sleeping = client.query("select pg_sleep(30)", &[]);
    let cancelling = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        token.cancel_query(NoTls).await
    };
    let (slept, cancelled) = future::join(sleeping, cancelling).await;
    cancelled?;
    equal!(sqlstate(slept), "57014");
    equal!(client.query_one("select 1", &[]).await?.get::<_, i32>(0), 1);
    Ok(())
}

async fn errors(client: &Client) -> Outcome {
    let error = client.query(RAISE, &[]).await.err().ok_or("no error")?;
    let error = error.as_db_error().ok_or("not an error of the server")?;
    equal!(error.message(), format!("declined {MASKED}"));
    equal!(
        error.detail().unwrap_or("").contains("555555******4444"),
        true
    );
    equal!(sqlstate(client.query("select 1/0", &[]).await), "22012");
    Ok(())
}

async fn large_object(client: &Client) -> Outcome {
    let data: Vec<u8> = (0..1 << 20).map(|i| (i % 251) as u8).collect();
    let oid: u32 = client
        .query_one("select lo_from_bytea(0, $1)", &[&data])
        .await?
        .get(0);
    equal!(
        client
            .query_one("select lo_get($1)", &[&oid])
            .await?
            .get::<_, Vec<u8>>(0)
            == data,
        true
    );
    client.execute("select lo_unlink($1)", &[&oid]).await?;
    Ok(())
}

async fn notifications(config: &Config) -> Outcome {
    let (client, mut connection) = config.connect(NoTls).await?;
    let (sender, mut receiver) = tokio::sync::mpsc::unbounded_channel();
    let driver: Pin<Box<dyn Future<Output = ()>>> = Box::pin(async move {
        while let Some(Ok(message)) = poll_fn(|context| connection.poll_message(context)).await {
            if let AsyncMessage::Notification(notification) = message {
                let _ = sender.send(notification.payload().to_string());
            }
        }
    });
    let work = async move {
        client.batch_execute("listen tokio").await?;
        client
            .execute("select pg_notify('tokio', '41111111' || '11111111')", &[])
            .await?;
        let payload = receiver.recv().await.ok_or("the connection ended")?;
        equal!(payload, MASKED);
        Ok::<(), Box<dyn Error>>(())
    };
    match future::select(pin!(work), driver).await {
        future::Either::Left((outcome, _)) => outcome,
        future::Either::Right(_) => Err("the connection ended".into()),
    }
}

async fn rows(client: &Client) -> Outcome {
    let stream = client
        .query_raw("select id, note from plain order by id", Vec::<i32>::new())
        .await?;
    let mut stream = pin!(stream);
    let mut count = 0;
    while let Some(row) = stream.next().await {
        count += 1;
        let row = row?;
        equal!(
            (row.get::<_, i32>(0), row.get::<_, String>(1)),
            (count, format!("note {count}"))
        );
    }
    equal!(count, 1000);
    Ok(())
}

async fn check(name: &str, config: &Config) -> Outcome {
    if name == "notifications" {
        return notifications(config).await;
    }
    let (mut client, connection) = config.connect(NoTls).await?;
    tokio::task::spawn_local(connection);
    match name {
        "prepared" => prepared(&client).await,
        "simple" => simple(&client).await,
        "blocked" => blocked(&client).await,
        "blocked_in_transaction" => blocked_in_transaction(&mut client).await,
        "copy_text" => copy_text(&client).await,
        "copy_binary" => copy_binary(&client).await,
        "pipeline" => pipeline(&client).await,
        "cursor" => portal(&mut client).await,
        "cancel" => cancel(&client).await,
        "errors" => errors(&client).await,
        "large_object" => large_object(&client).await,
        "rows" => rows(&client).await,
        _ => Err("no such check".into()),
    }
}

const CHECKS: &[&str] = &[
    "prepared",
    "simple",
    "blocked",
    "blocked_in_transaction",
    "copy_text",
    "copy_binary",
    "pipeline",
    "cursor",
    "cancel",
    "errors",
    "large_object",
    "notifications",
    "rows",
];

fn main() -> Outcome {
    let arguments: Vec<String> = std::env::args().collect();
    let mut config = Config::new();
    config
        .host(&arguments[1])
        .port(arguments[2].parse()?)
        .user("postgres")
        .dbname("postgres");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    for name in CHECKS
        .iter()
        .filter(|name| arguments.len() == 3 || arguments[3..].iter().any(|wanted| &wanted == name))
    {
        let outcome = tokio::task::LocalSet::new().block_on(&runtime, async {
            tokio::time::timeout(Duration::from_secs(60), check(name, &config)).await
        });
        match outcome {
            Ok(Ok(())) => println!("ok {name}"),
            Ok(Err(error)) => println!("FAIL {name} {}", error.to_string().replace('\n', " ")),
            Err(_) => println!("FAIL {name} not within 60 s"),
        }
    }
    Ok(())
}
