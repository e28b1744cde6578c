//! The N+1 problem: a list of books is one query, and the author of each book one more. Here each
//! look-up stays a call of its own, made by a task of its own, and those of many tasks become one
//! query, `WHERE id IN (…)`.
//!
//! `cargo run --example dataloader`
//!
//! The database is SQLite, compiled in and kept in memory: a query costs no round trip. Where it
//! does, each query that is saved is a round trip saved.
#![expect(clippy::print_stdout, reason = "an example shows what happened")]

use std::collections::{BTreeSet, HashMap};
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use dynamic_batcher::{BatchPolicy, BatchProcessor, Batcher, WhenIdle};
use dynamic_batcher_memory::MemoryTransport;
use rusqlite::{Connection, Params, Row, params_from_iter};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// The most look-ups that become one query. SQLite takes up to 32,766 parameters.
const BATCH_SIZE: NonZeroUsize = NonZeroUsize::new(100).unwrap();

#[tokio::main]
async fn main() -> Result<()> {
    let database = Arc::new(Database::open()?);
    println!("a list of 1000 books, each made by a task that looks up the author:");

    let start = Instant::now();
    let one_by_one = list(&database, |id| look_up(Arc::clone(&database), id)).await?;
    let queries = database.take_count();
    println!("  one by one  {queries:5} queries  {:.1?}", start.elapsed());

    // An idle processor asks for what is wanted at once; while a query runs, others gather.
    let policy = BatchPolicy::default().when_idle(WhenIdle::Run);
    let (authors, _processor) = start_loader(Arc::clone(&database), policy);
    let start = Instant::now();
    let batched = list(&database, |id| load(authors.clone(), id)).await?;
    let queries = database.take_count();
    println!("  batched     {queries:5} queries  {:.1?}", start.elapsed());

    assert_eq!(batched, one_by_one, "not the same list");
    println!(
        "the lists are the same; one of their lines: {}",
        batched[41]
    );
    Ok(())
}

/// Starts what looks up authors for any number of tasks, with one query for a batch of them.
fn start_loader(
    database: Arc<Database>,
    policy: BatchPolicy,
) -> (
    Batcher<i64, Option<Author>>,
    BatchProcessor<i64, Option<Author>>,
) {
    let transport = MemoryTransport::default();
    let batcher = Batcher::new(transport.clone());
    let policy = policy.batch_size(BATCH_SIZE);
    // A query blocks, so it has a thread of its own. One that fails fails for its whole batch.
    let processor = BatchProcessor::spawn_blocking(transport, policy, move |ids: Vec<i64>| {
        database.authors(&ids)
    });
    (batcher, processor)
}

/// One look-up by the loader: whose query it becomes a part of does not show.
async fn load(authors: Batcher<i64, Option<Author>>, id: i64) -> Result<Option<Author>> {
    Ok(authors.send(id).await?)
}

/// One look-up as a query of its own.
async fn look_up(database: Arc<Database>, id: i64) -> Result<Option<Author>> {
    let author = tokio::task::spawn_blocking(move || database.author(id));
    Ok(author.await??)
}

/// Lists all books: the one query, and then N look-ups of an author.
async fn list<F>(database: &Database, look_up: impl Fn(i64) -> F) -> Result<Vec<String>>
where
    F: Future<Output = Result<Option<Author>>> + Send + 'static,
{
    let books = database.books()?;
    let tasks = books
        .into_iter()
        .map(|book| tokio::spawn(line(book.title, look_up(book.author))));
    let mut lines = Vec::new();
    for task in tasks.collect::<Vec<_>>() {
        lines.push(task.await??);
    }
    Ok(lines)
}

async fn line(
    title: String,
    author: impl Future<Output = Result<Option<Author>>>,
) -> Result<String> {
    Ok(match author.await? {
        Some(author) => format!("{title}, by {}", author.name),
        None => format!("{title}, author unknown"),
    })
}

struct Book {
    title: String,
    author: i64,
}

#[derive(Clone, Debug, PartialEq)]
struct Author {
    id: i64,
    name: String,
}

/// A connection that counts its queries.
struct Database {
    connection: Mutex<Connection>,
    queries: AtomicUsize,
}

impl Database {
    /// Makes 300 authors and 1,000 books. Of some books nobody knows the author: there is no 0.
    fn open() -> rusqlite::Result<Self> {
        let connection = Connection::open_in_memory()?;
        connection.execute_batch(
            "CREATE TABLE authors (id INTEGER PRIMARY KEY, name TEXT NOT NULL);
             CREATE TABLE books (title TEXT NOT NULL, author INTEGER NOT NULL);
             WITH RECURSIVE number (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM number LIMIT 300)
                 INSERT INTO authors SELECT n, 'Author ' || n FROM number;
             WITH RECURSIVE number (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM number LIMIT 1000)
                 INSERT INTO books SELECT 'Book ' || n, 5 * n % 301 FROM number;",
        )?;
        Ok(Self {
            connection: Mutex::new(connection),
            queries: AtomicUsize::new(0),
        })
    }

    fn books(&self) -> rusqlite::Result<Vec<Book>> {
        self.query(
            "SELECT title, author FROM books ORDER BY rowid",
            [],
            |row| {
                Ok(Book {
                    title: row.get(0)?,
                    author: row.get(1)?,
                })
            },
        )
    }

    fn author(&self, id: i64) -> rusqlite::Result<Option<Author>> {
        let sql = "SELECT id, name FROM authors WHERE id = ?";
        Ok(self.query(sql, [id], Author::read)?.pop())
    }

    /// The author of each of the ids, in their order, by one query. It returns rows in an order of
    /// its own, and none for an id that is not there.
    fn authors(&self, ids: &[i64]) -> rusqlite::Result<Vec<Option<Author>>> {
        // What several tasks want is asked for once.
        let wanted: BTreeSet<_> = ids.iter().collect();
        let marks = vec!["?"; wanted.len()].join(", ");
        let sql = format!("SELECT id, name FROM authors WHERE id IN ({marks})");
        let found = self.query(&sql, params_from_iter(wanted), Author::read)?;
        let by_id: HashMap<_, _> = found
            .into_iter()
            .map(|author| (author.id, author))
            .collect();
        Ok(ids.iter().map(|id| by_id.get(id).cloned()).collect())
    }

    /// Runs one query and counts it: all others come through here.
    fn query<T>(
        &self,
        sql: &str,
        parameters: impl Params,
        read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
    ) -> rusqlite::Result<Vec<T>> {
        self.queries.fetch_add(1, Ordering::Relaxed);
        let connection = self.connection.lock();
        let connection = connection.unwrap_or_else(PoisonError::into_inner);
        let mut statement = connection.prepare(sql)?;
        statement.query_map(parameters, read)?.collect()
    }

    /// How many queries there have been since the last call.
    fn take_count(&self) -> usize {
        self.queries.swap(0, Ordering::Relaxed)
    }
}

impl Author {
    fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            id: row.get(0)?,
            name: row.get(1)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use dynamic_batcher::ErrorKind;

    use super::*;

    /// A window that no test outlasts: a batch is closed when it is full, and by nothing else.
    fn full_batches() -> BatchPolicy {
        BatchPolicy::default().batch_time(Duration::from_secs(60))
    }

    #[tokio::test]
    async fn a_thousand_look_ups_are_ten_queries() {
        let database = Arc::new(Database::open().unwrap());
        let one_by_one = list(&database, |id| look_up(Arc::clone(&database), id));
        let one_by_one = one_by_one.await.unwrap();
        assert_eq!(database.take_count(), 1 + 1_000);

        let (authors, _processor) = start_loader(Arc::clone(&database), full_batches());
        let batched = list(&database, |id| load(authors.clone(), id));
        let batched = batched.await.unwrap();
        assert_eq!(database.take_count(), 1 + 1_000 / BATCH_SIZE.get());
        assert_eq!(batched, one_by_one);
        assert_eq!(batched[0], "Book 1, by Author 5");
        assert_eq!(batched[300], "Book 301, author unknown");
        assert_eq!(batched[999], "Book 1000, by Author 184");
    }

    #[test]
    fn each_id_has_its_own_author_wherever_it_stands() {
        let database = Database::open().unwrap();
        let authors = database.authors(&[9, 2, 0, 9]).unwrap();
        let names: Vec<_> = authors
            .iter()
            .map(|author| author.as_ref().map(|author| author.name.as_str()))
            .collect();
        let nine = Some("Author 9");
        assert_eq!(names, [nine, Some("Author 2"), None, nine]);
        assert_eq!(database.take_count(), 1);
    }

    #[tokio::test]
    async fn a_query_that_fails_is_an_error_for_each_of_its_callers() {
        let database = Arc::new(Database::open().unwrap());
        let (authors, _processor) = start_loader(Arc::clone(&database), full_batches());
        database
            .query("DROP TABLE authors", [], |_| Ok(()))
            .unwrap();
        let ids = (1..=100).collect();
        for outcome in authors.send_many(ids).await {
            let error = outcome.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Handler);
            assert!(error.to_string().contains("no such table"), "{error}");
        }
    }
}
