//! Several questions asked at once: of PostgreSQL in one statement, for each is a journey to the server and back;
//! of SQLite one after the other.

use sqlx::{AssertSqlSafe, query};

use super::conn::{from_postgres, within};
use super::{Conn, Row, StoreError};

/// A question. All that are asked together have as many columns, of the same types.
pub struct Question {
    /// Of keys it ends where they begin (`… WHERE key`); of a range it has `$1` and `$2`.
    pub sql: &'static str,
    /// What it is about.
    pub of: Of,
}

/// What a question is about.
pub enum Of {
    /// Nothing but itself.
    Itself,
    /// Rows whose blob column is one of these.
    Keys(Vec<Vec<u8>>),
    /// Numbers from the first up to the second, without it.
    Range(i64, i64),
}

impl Conn {
    /// The rows that answer each question, in the order of the questions.
    ///
    /// # Errors
    /// As [`StoreError`] says.
    pub async fn fetch_together<const N: usize>(
        &mut self,
        questions: [Question; N],
    ) -> Result<[Vec<Row>; N], StoreError> {
        let mut answers = [const { Vec::new() }; N];
        if let Self::Postgres(conn) = self {
            let mut bound = query(AssertSqlSafe(union(&questions)));
            for Question { of, .. } in questions {
                bound = match of {
                    Of::Itself => bound,
                    Of::Keys(keys) => bound.bind(keys),
                    Of::Range(from, to) => bound.bind(from).bind(to),
                };
            }
            for row in &within(bound.fetch_all(&mut **conn)).await? {
                let row = from_postgres(row, "of several questions")?;
                let answers = usize::try_from(row.int(0)?).ok().and_then(|number| answers.get_mut(number));
                answers
                    .ok_or(StoreError::Inconsistent("an answer to no question"))?
                    .push(row.without_first());
            }
            return Ok(answers);
        }
        for (answer, Question { sql, of }) in answers.iter_mut().zip(questions) {
            *answer = match of {
                Of::Itself => self.fetch(sql, vec![]).await?,
                Of::Keys(keys) => self.fetch_among(sql, keys).await?,
                Of::Range(from, to) => self.fetch(sql, vec![from.into(), to.into()]).await?,
            };
        }
        Ok(answers)
    }
}

/// One statement, each row with the number of the question that it answers before it.
fn union(questions: &[Question]) -> String {
    let mut parameters = 1..;
    let mut part = |(number, Question { sql, of }): (usize, &Question)| {
        let mut parameter = || parameters.next().unwrap_or_default();
        let sql = match of {
            Of::Itself => (*sql).to_owned(),
            Of::Keys(_) => format!("{sql} = ANY(${})", parameter()),
            // The second first: its number must not be taken for the other's new one.
            Of::Range(..) => {
                let (from, to) = (parameter(), parameter());
                sql.replace("$2", &format!("${to}")).replace("$1", &format!("${from}"))
            }
        };
        format!("SELECT CAST({number} AS BIGINT), q{number}.* FROM ({sql}) q{number}")
    };
    questions.iter().enumerate().map(&mut part).collect::<Vec<_>>().join(" UNION ALL ")
}
