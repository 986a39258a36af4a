//! Texts, beside PostgreSQL.

use std::{
    fmt::Write as _,
    fs,
    io::{BufWriter, Write as _},
    path::Path,
    time::Instant,
};

use anyhow::{Context as _, Result, ensure};
use contract::{Search as _, TextCondition, TextSearch};
use harness::{Draw as _, Zipf, peers::Postgres};
use rand::{Rng, RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha12Rng;
use relevance::query_terms;
use search::SearchLimits;
use transaction::IndexKind;
use value::{Object, Value};

use crate::stand::{Changes, DEPLOYMENT, INDEX, Stand, percentile, until_filled};

/// Measures text search.
#[derive(clap::Args)]
pub struct Arguments {
    /// Texts of about 1 KB.
    #[arg(long, default_value_t = 1_000_000)]
    documents: usize,
    /// Queries that each answers, after as many that are not counted.
    #[arg(long, default_value_t = 100)]
    queries: usize,
    /// Documents that each query is to bring: as many as one of the product does.
    #[arg(long, default_value_t = transaction::Limits::DEFAULT.transaction.search_documents_max)]
    matches: usize,
    /// Measures Tidemark alone.
    #[arg(long)]
    without_peers: bool,
}

/// Different words of the texts.
const WORDS: usize = 50_000;
const TEXT_BYTES: usize = 1_000;
const BATCH: usize = 1_000;
/// Of so many documents one is replaced by another text once it was written, and one is deleted: the figures of an index that nobody has
/// changed are a case of their own.
const REPLACED_EVERY: usize = 10;
const DELETED_EVERY: usize = 50;

/// The word of a rank: the frequent ones are short.
fn word(rank: usize) -> String {
    let mut rank = rank + 26;
    let mut letters = Vec::new();
    while rank > 0 {
        letters.push(b'a' + (rank % 26) as u8);
        rank /= 26;
    }
    // Far apart in the alphabet, so that a prefix is of words of all ranks.
    String::from_utf8(letters).expect("letters are ASCII")
}

struct Corpus {
    words: Vec<String>,
    draw: Zipf,
}

impl Corpus {
    fn new() -> Corpus {
        Corpus { words: (0..WORDS).map(word).collect(), draw: Zipf::new(WORDS, 1.0) }
    }

    fn word(&self, random: &mut impl Rng) -> &str {
        &self.words[self.draw.draw(random)]
    }

    fn text(&self, random: &mut impl Rng) -> String {
        let mut text = String::with_capacity(TEXT_BYTES + 16);
        while text.len() < TEXT_BYTES {
            let _ = write!(text, "{} ", self.word(random));
        }
        text.pop();
        text
    }

    /// Two words and the beginning of a third.
    fn query(&self, random: &mut impl Rng) -> [String; 3] {
        let mut last = self.word(random).to_owned();
        last.truncate(random.random_range(2..5));
        [self.word(random).to_owned(), self.word(random).to_owned(), last]
    }
}

fn document(text: &str) -> Object {
    let mut document = Object::new();
    document.insert("text", Value::String(text.to_owned()));
    document
}

pub async fn run(arguments: &Arguments, folder: &Path, seed: u64) -> Result<()> {
    let mut random = ChaCha12Rng::seed_from_u64(seed);
    let corpus = Corpus::new();
    let stand = Stand::start(folder, "text", IndexKind::Text { filter_fields: Vec::new() }).await?;
    let (service, token) = stand.search(folder.join("search"), SearchLimits::DEFAULT);
    let file = folder.join("texts");
    let mut texts = BufWriter::new(fs::File::create(&file)?);
    let began = Instant::now();
    let (mut left, mut there) = (arguments.documents, 0);
    while left > 0 {
        let count = left.min(BATCH);
        let texts_of_batch: Vec<String> = (0..count).map(|_| corpus.text(&mut random)).collect();
        let ids = stand.insert(texts_of_batch.iter().map(|text| document(text)).collect()).await?;
        let mut changes = Changes::default();
        for (number, (id, text)) in ids.into_iter().zip(texts_of_batch).enumerate() {
            if number % DELETED_EVERY == 1 {
                changes.deleted.push(id);
                continue;
            }
            let mut last = text;
            if number.is_multiple_of(REPLACED_EVERY) {
                last = corpus.text(&mut random);
                changes.replaced.push((id, document(&last)));
            }
            // PostgreSQL is given what is there in the end, and has no dead rows.
            writeln!(texts, "{last}")?;
            there += 1;
        }
        stand.change(&changes).await?;
        left -= count;
    }
    texts.flush()?;
    println!("tidemark: {} texts written in {:.0} s", arguments.documents, began.elapsed().as_secs_f64());
    let rest = until_filled(&service, there).await?;
    println!("tidemark: indexed {:.0} s later", rest.as_secs_f64());
    let queries: Vec<[String; 3]> = (0..2 * arguments.queries).map(|_| corpus.query(&mut random)).collect();
    let at = stand.published()?;
    let mut times = Vec::new();
    let mut found = 0;
    for (number, query) in queries.iter().enumerate() {
        let terms = query_terms(&query.join(" "), 16).context("a query has terms")?;
        let condition = TextCondition { terms: terms.terms, prefix: terms.prefix, filters: Vec::new() };
        let search = TextSearch {
            deployment: DEPLOYMENT,
            index: INDEX,
            at,
            condition,
            matches_max: arguments.matches,
            replaced: Vec::new(),
            written: Vec::new(),
        };
        let began = Instant::now();
        let matches = service.handle().search_text(search).await?;
        if number >= arguments.queries {
            times.push(began.elapsed());
        }
        found += matches.matches.len();
    }
    ensure!(found > 0, "the queries find something");
    times.sort_unstable();
    let tidemark = percentile(&times, 0.5);
    println!("tidemark: p50 {tidemark:.2} ms, p99 {:.2} ms", percentile(&times, 0.99));
    token.cancel();
    service.stopped().await;
    stand.stop().await;
    if arguments.without_peers || !Postgres::is_there() {
        println!("postgresql: not measured");
        return Ok(());
    }
    let (p50, p99) = postgres(folder, &file, &queries, arguments).await?;
    println!("postgresql: p50 {p50:.2} ms, p99 {p99:.2} ms");
    println!(
        "tidemark is {:.1} times as fast at p50, the best {} of each query; the prefix stands for its first 16 words in Tidemark, and for all in PostgreSQL",
        p50 / tidemark,
        arguments.matches
    );
    Ok(())
}

/// The same of PostgreSQL, timed within it: no protocol is in its figures.
async fn postgres(
    folder: &Path,
    file: &Path,
    queries: &[[String; 3]],
    arguments: &Arguments,
) -> Result<(f64, f64)> {
    let postgres = Postgres::start(folder).await?;
    let began = Instant::now();
    let lines = folder.join("queries");
    let query =
        |(number, [one, two, last]): (usize, &[String; 3])| format!("{number}\t{one} | {two} | {last}:*\n");
    fs::write(&lines, queries.iter().enumerate().map(query).collect::<String>())?;
    for sql in [
        "create table texts (id serial primary key, body text, words tsvector)".to_owned(),
        format!("copy texts (body) from '{}'", file.display()),
        "update texts set words = to_tsvector('simple', body)".to_owned(),
        "create index on texts using gin (words)".to_owned(),
        "vacuum full analyze texts".to_owned(),
        "create table asked (number int, query tsquery)".to_owned(),
        format!("copy asked from '{}'", lines.display()),
        "create table took (number int, ms double precision)".to_owned(),
    ] {
        postgres.psql(&sql).await.with_context(|| sql.clone())?;
    }
    println!("postgresql: filled and indexed in {:.0} s", began.elapsed().as_secs_f64());
    let measure = format!(
        "set work_mem = '256MB'; set jit = off;
         do $$ declare asked record; began timestamptz; begin
           for asked in select * from asked order by number loop
             began := clock_timestamp();
             perform id from texts where words @@ asked.query order by ts_rank(words, asked.query) desc limit {};
             insert into took values (asked.number, extract(epoch from clock_timestamp() - began) * 1000);
           end loop; end $$",
        arguments.matches
    );
    postgres.psql(&measure).await?;
    let percentiles = format!(
        "select percentile_cont(0.5) within group (order by ms), percentile_cont(0.99) within group (order by ms)
         from took where number >= {}",
        arguments.queries
    );
    let printed = postgres.psql(&percentiles).await?;
    let (p50, p99) = printed.trim().split_once('|').context("two figures are printed")?;
    let figures = (p50.parse()?, p99.parse()?);
    postgres.stop().await?;
    Ok(figures)
}
