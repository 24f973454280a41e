//! Codes that only commissioner and home school get (Y5, with Y6 and Y7): whatever could tell them from texts that
//! were written with or after them reaches no other reader, in any order of corrections and withdrawals.

use std::collections::BTreeSet;

use ap_gateway::client::Client;
use ap_gateway::proto::v1::delivery::Content;
use ap_gateway::proto::v1::{
    DaySession, Mark, NotifyExpectedAbsenceRequest, Session, VoidReturnRequest, returns_service,
};
use prost::Message;

use super::attendance::{content, delivered};
use super::story::{attendance, id, mark, submission, submit};
use super::support::{World, deliveries};

const CODES: [&str; 8] = ["Y5", "Y6", "Y7", "O", "I", "Y1", "Y5", "X"];

/// Random numbers of a seed (PCG's multiplier and increment); the seed is in the message of a failure.
struct Dice(u64);

impl Dice {
    fn below(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % sides
    }
}

/// A session of a child as the test knows it.
#[derive(Clone)]
struct Day {
    placement: String,
    date: String,
    /// A restricted code was sent for it.
    restricted: bool,
}

/// A return that stands, and the places of its days.
type Return = (String, Vec<usize>);

/// Random marks, corrections and withdrawals, each text a word of its own.
struct Play {
    dice: Dice,
    days: Vec<Day>,
    returns: Vec<Return>,
    /// Words of marks that everybody gets, and those that only the closest readers get.
    open: BTreeSet<String>,
    closed: BTreeSet<String>,
    /// Reasons of withdrawals that only the closest readers get. One that restores nothing reaches nobody.
    reasons: BTreeSet<String>,
    words: usize,
}

impl Play {
    fn new(seed: u64, placements: &[String]) -> Self {
        let days = |placement: &String| {
            let day = |day| Day {
                placement: placement.clone(),
                date: format!("2026-11-{day:02}"),
                restricted: false,
            };
            (2..=20).map(day).collect::<Vec<_>>()
        };
        Self {
            dice: Dice(seed),
            days: placements.iter().flat_map(days).collect(),
            returns: Vec::new(),
            open: BTreeSet::new(),
            closed: BTreeSet::new(),
            reasons: BTreeSet::new(),
            words: 0,
        }
    }

    /// A new word of a mark, and who gets it.
    fn word(&mut self, closed: bool) -> String {
        let word = self.plain();
        let list = if closed { &mut self.closed } else { &mut self.open };
        list.insert(word.clone());
        word
    }

    fn plain(&mut self) -> String {
        self.words += 1;
        format!("zq{}w{}zq", self.dice.0 % 7919, self.words)
    }

    /// A return about one to three days, in random order.
    async fn submit(&mut self, provider: &Client) {
        let mut places = BTreeSet::new();
        for _ in 0..=self.dice.below(3) {
            places.insert(self.dice.below(self.days.len()));
        }
        let places: Vec<usize> = places.into_iter().collect();
        let mut marks = Vec::new();
        for place in &places {
            let code = CODES[self.dice.below(CODES.len())];
            let day = self.days[*place].clone();
            let closed = day.restricted || ["Y5", "Y6", "Y7"].contains(&code);
            self.days[*place].restricted = closed;
            let (comment, reason, site) = (self.word(closed), self.word(closed), self.word(closed));
            let sent = mark(&day.placement, &day.date, code);
            marks.push(Mark { comment, correction_reason: reason, site, ..sent });
        }
        let answer = submit(provider, &submission(marks)).await.unwrap().message;
        assert_eq!(answer.stored + answer.corrected, u32::try_from(places.len()).unwrap());
        self.returns.push((answer.return_id, places));
    }

    /// Withdraws a return; its reason may tell of each of its days.
    async fn withdraw(&mut self, provider: &Client) {
        if self.returns.is_empty() {
            return;
        }
        let at = self.dice.below(self.returns.len());
        let (return_id, places) = self.returns.swap_remove(at);
        let restricted = places.iter().any(|place| self.days[*place].restricted);
        let reason = self.plain();
        if restricted {
            self.reasons.insert(reason.clone());
        }
        let request =
            VoidReturnRequest { request_id: id(), return_id, reason, ..VoidReturnRequest::default() };
        provider.call(returns_service::VOID_RETURN, &request).await.unwrap();
    }
}

/// Everything that a reader gets of these placements, by the mailbox and by reading, as one text.
async fn everything(client: &Client, placements: &[String]) -> String {
    let mut bytes = Vec::new();
    for delivery in deliveries(client).await {
        if let Some(content @ Content::Attendance(_)) = &delivery.content {
            content.encode(&mut bytes);
        }
    }
    for placement in placements {
        bytes.extend(attendance(client, placement).await.unwrap().encode_to_vec());
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

async fn no_text_tells_what_is_restricted(world: &World, seed: u64, steps: usize) {
    let [provider, school, residence] = ["provider-a", "school", "la-b"];
    let provider = world.client(provider).await;
    let placements = world.placements("school", "provider-a");
    let mut play = Play::new(seed, &placements[..2]);
    for _ in 0..steps {
        if play.dice.below(4) == 0 {
            play.withdraw(&provider).await;
        } else {
            play.submit(&provider).await;
        }
    }
    let got = everything(&world.client(residence).await, &placements[..2]).await;
    let told: Vec<_> = play.closed.iter().chain(&play.reasons).filter(|word| got.contains(*word)).collect();
    assert!(told.is_empty(), "seed {seed}: the LA of residence got {told:?}");
    for code in ["Y5", "Y6", "Y7"] {
        assert!(!got.contains(code), "seed {seed}: the LA of residence got {code}");
    }
    let missing =
        |words: &BTreeSet<String>, got: &str| words.iter().filter(|word| !got.contains(*word)).count();
    assert_eq!(missing(&play.open, &got), 0, "seed {seed}: nothing else is kept from the LA of residence");
    // Commissioner and home school are one here.
    let got = everything(&world.client(school).await, &placements[..2]).await;
    assert_eq!(
        missing(&play.open, &got) + missing(&play.closed, &got),
        0,
        "seed {seed}: the closest get all"
    );
    assert!(got.contains("Y5") && play.open.len() > steps / 2 && !play.reasons.is_empty(), "seed {seed}");
}

/// Y5, then O with a reason, then I: the third delivery holds the second revision, and not why it was made.
async fn a_third_revision_does_not_tell_of_the_first(world: &World) {
    let (riverside, residence) = (world.client("provider-a").await, world.client("la-b").await);
    let school = world.client("school").await;
    let placement = world.placements("school", "provider-a").remove(2);
    let sent = |code: &str, text: &str| Mark {
        comment: text.to_owned(),
        correction_reason: text.to_owned(),
        site: text.to_owned(),
        minutes_planned: Some(150),
        ..mark(&placement, "2026-11-03", code)
    };
    let mut returns = Vec::new();
    for (code, text) in [("Y5", "remand"), ("O", "released from custody"), ("I", "a parent telephoned")] {
        returns
            .push(submit(&riverside, &submission(vec![sent(code, text)])).await.unwrap().message.return_id);
    }
    let third = |found: Vec<ap_gateway::proto::v1::Delivery>| content(&found[0]).children[0].marks[0].clone();
    let theirs = third(delivered(&residence, &returns[2]).await);
    let (now, before) = (theirs.mark.unwrap(), &theirs.earlier[0]);
    assert_eq!((now.code.as_str(), before.code.as_str(), before.revision), ("I", "O", 2));
    for stored in [&now, before] {
        assert_eq!([&*stored.comment, &*stored.correction_reason, &*stored.site], ["", "", ""]);
        assert_eq!(stored.minutes_planned, Some(150));
    }
    let read = attendance(&residence, &placement).await.unwrap().marks.remove(0);
    let first = &read.earlier[1];
    assert!(first.not_possible && first.minutes_planned.is_none() && first.suggested_code.is_empty());
    let whole = third(delivered(&school, &returns[2]).await);
    assert_eq!(whole.earlier[0].correction_reason, "released from custody");
    assert_eq!(whole.mark.unwrap().site, "a parent telephoned");
}

/// The note of a notice that follows a restricted one is kept from the provider, also for a session beside it.
async fn a_notice_does_not_tell_of_one_before(world: &World) {
    let (riverside, la) = (world.client("provider-a").await, world.client("la-a").await);
    let school = world.client("school").await;
    let placement = world.placements("la-a", "provider-a").remove(1);
    let notify = async |client: &Client, days: &[&str], code: &str, note: &str| {
        let session = |date: &&str| DaySession {
            date: (*date).to_owned(),
            session: Session::Am as i32,
            ..DaySession::default()
        };
        let request = NotifyExpectedAbsenceRequest {
            request_id: id(),
            placement_id: placement.clone(),
            sessions: days.iter().map(session).collect(),
            code: code.to_owned(),
            note: note.to_owned(),
            ..NotifyExpectedAbsenceRequest::default()
        };
        client.call(returns_service::NOTIFY_EXPECTED_ABSENCE, &request).await.unwrap().message.notice_id
    };
    let note_of = async |reader: &Client, notice: &str| {
        let found = delivered(reader, notice).await;
        let Some(Content::ExpectedAbsence(content)) = &found[0].content else { panic!("no notice") };
        content.absences.iter().map(|absence| absence.note.clone()).collect::<Vec<_>>()
    };
    let (monday, tuesday, friday) = ("2026-11-23", "2026-11-24", "2026-11-27");
    let first = notify(&school, &[monday], "Y5", "remand").await;
    assert_eq!(note_of(&riverside, &first).await, [""]);
    let second = notify(&school, &[monday], "I", "released from custody").await;
    assert_eq!(note_of(&riverside, &second).await, [""]);
    // Monday is unchanged and not written again; the note is still about it.
    let third = notify(&school, &[monday, tuesday], "I", "since custody").await;
    assert_eq!(note_of(&riverside, &third).await, [""]);
    // The commissioner was told the school's reason, and may repeat it.
    let fourth = notify(&la, &[monday], "M", "seen in custody").await;
    assert_eq!(note_of(&riverside, &fourth).await, [""]);
    for (notice, sessions) in [(&second, 1), (&third, 1)] {
        let notes = note_of(&la, notice).await;
        assert!(notes.len() == sessions && notes.iter().all(|note| note.contains("custody")), "{notes:?}");
    }
    let other = notify(&school, &[friday], "M", "dentist").await;
    assert_eq!(note_of(&riverside, &other).await, ["dentist"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn restricted_codes_are_told_by_no_text_on_sqlite() {
    for seed in 1..=4 {
        let world = World::sqlite().await;
        no_text_tells_what_is_restricted(&world, seed, 48).await;
        if seed == 1 {
            a_third_revision_does_not_tell_of_the_first(&world).await;
            a_notice_does_not_tell_of_one_before(&world).await;
        }
        world.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn restricted_codes_are_told_by_no_text_on_postgresql() {
    let world = World::postgres().await;
    no_text_tells_what_is_restricted(&world, 5, 48).await;
    a_third_revision_does_not_tell_of_the_first(&world).await;
    a_notice_does_not_tell_of_one_before(&world).await;
    world.stop().await;
}
