//! Codes that only commissioner and home school may see (Y5, Y6, Y7): no text written with or after them reaches
//! other readers, in any order of corrections and withdrawals.

use std::collections::BTreeSet;

use ap_gateway::client::Client;
use ap_gateway::proto::v1::delivery::Content;
use ap_gateway::proto::v1::{
    DaySession, Mark, NotifyExpectedAbsenceRequest, Session, VoidReturnRequest, returns_service,
};
use prost::Message;

use super::attendance::{attendance_content, deliveries_of_object};
use super::exchange_semantics::{get_attendance, mark, new_id, submission, submit};
use super::support::{World, deliveries};

const SUBMITTED_CODES: [&str; 8] = ["Y5", "Y6", "Y7", "O", "I", "Y1", "Y5", "X"];

/// A random number generator with a seed (multiplier and increment of PCG). Failure messages contain the seed.
struct SeededRandom(u64);

impl SeededRandom {
    fn below(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % sides
    }
}

/// The expected state of a session.
#[derive(Clone)]
struct SessionOfChild {
    placement: String,
    date: String,
    /// Whether a restricted code was submitted for it.
    restricted: bool,
}

/// A return that is not withdrawn, with the positions of its sessions.
type Return = (String, Vec<usize>);

/// A random history of marks, corrections and withdrawals; each text is a unique word.
struct RandomHistory {
    random: SeededRandom,
    days: Vec<SessionOfChild>,
    returns: Vec<Return>,
    /// Words that all readers get, and words for commissioner and home school only.
    open_words: BTreeSet<String>,
    restricted_words: BTreeSet<String>,
    /// Reasons of withdrawals for commissioner and home school only. The reason of a withdrawal that restores
    /// nothing reaches nobody.
    restricted_reasons: BTreeSet<String>,
    word_count: usize,
}

impl RandomHistory {
    fn new(seed: u64, placements: &[String]) -> Self {
        let days = |placement: &String| {
            let day = |day| SessionOfChild {
                placement: placement.clone(),
                date: format!("2026-11-{day:02}"),
                restricted: false,
            };
            (2..=20).map(day).collect::<Vec<_>>()
        };
        Self {
            random: SeededRandom(seed),
            days: placements.iter().flat_map(days).collect(),
            returns: Vec::new(),
            open_words: BTreeSet::new(),
            restricted_words: BTreeSet::new(),
            restricted_reasons: BTreeSet::new(),
            word_count: 0,
        }
    }

    /// Returns a new word and records who may get it.
    fn new_word(&mut self, closed: bool) -> String {
        let word = self.unique_word();
        let list = if closed { &mut self.restricted_words } else { &mut self.open_words };
        list.insert(word.clone());
        word
    }

    fn unique_word(&mut self) -> String {
        self.word_count += 1;
        format!("zq{}w{}zq", self.random.0 % 7919, self.word_count)
    }

    /// Submits a return about one to three sessions in random order.
    async fn submit(&mut self, provider: &Client) {
        let mut places = BTreeSet::new();
        for _ in 0..=self.random.below(3) {
            places.insert(self.random.below(self.days.len()));
        }
        let places: Vec<usize> = places.into_iter().collect();
        let mut marks = Vec::new();
        for place in &places {
            let code = SUBMITTED_CODES[self.random.below(SUBMITTED_CODES.len())];
            let day = self.days[*place].clone();
            let closed = day.restricted || ["Y5", "Y6", "Y7"].contains(&code);
            self.days[*place].restricted = closed;
            let (comment, reason, site) =
                (self.new_word(closed), self.new_word(closed), self.new_word(closed));
            let sent = mark(&day.placement, &day.date, code);
            marks.push(Mark { comment, correction_reason: reason, site, ..sent });
        }
        let answer = submit(provider, &submission(marks)).await.unwrap().message;
        assert_eq!(answer.stored + answer.corrected, u32::try_from(places.len()).unwrap());
        self.returns.push((answer.return_id, places));
    }

    /// Withdraws a return. Its reason may reveal any of its sessions.
    async fn withdraw(&mut self, provider: &Client) {
        if self.returns.is_empty() {
            return;
        }
        let at = self.random.below(self.returns.len());
        let (return_id, places) = self.returns.swap_remove(at);
        let restricted = places.iter().any(|place| self.days[*place].restricted);
        let reason = self.unique_word();
        if restricted {
            self.restricted_reasons.insert(reason.clone());
        }
        let request =
            VoidReturnRequest { request_id: new_id(), return_id, reason, ..VoidReturnRequest::default() };
        provider.call(returns_service::VOID_RETURN, &request).await.unwrap();
    }
}

/// Returns all that a reader gets about these placements, from deliveries and reads, as one text.
async fn all_text(client: &Client, placements: &[String]) -> String {
    let mut bytes = Vec::new();
    for delivery in deliveries(client).await {
        if let Some(content @ Content::Attendance(_)) = &delivery.content {
            content.encode(&mut bytes);
        }
    }
    for placement in placements {
        bytes.extend(get_attendance(client, placement).await.unwrap().encode_to_vec());
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

async fn no_text_reveals_restricted_codes(world: &World, seed: u64, steps: usize) {
    let [provider, school, residence] = ["provider-a", "school", "la-b"];
    let provider = world.client(provider).await;
    let placements = world.placements("school", "provider-a");
    let mut play = RandomHistory::new(seed, &placements[..2]);
    for _ in 0..steps {
        if play.random.below(4) == 0 {
            play.withdraw(&provider).await;
        } else {
            play.submit(&provider).await;
        }
    }
    let got = all_text(&world.client(residence).await, &placements[..2]).await;
    let revealed: Vec<_> = play
        .restricted_words
        .iter()
        .chain(&play.restricted_reasons)
        .filter(|word| got.contains(*word))
        .collect();
    assert!(revealed.is_empty(), "seed {seed}: the LA of residence got {revealed:?}");
    for code in ["Y5", "Y6", "Y7"] {
        assert!(!got.contains(code), "seed {seed}: the LA of residence got {code}");
    }
    let missing =
        |words: &BTreeSet<String>, got: &str| words.iter().filter(|word| !got.contains(*word)).count();
    assert_eq!(
        missing(&play.open_words, &got),
        0,
        "seed {seed}: nothing else is kept from the LA of residence"
    );
    // The school is both commissioner and home school here.
    let got = all_text(&world.client(school).await, &placements[..2]).await;
    assert_eq!(
        missing(&play.open_words, &got) + missing(&play.restricted_words, &got),
        0,
        "seed {seed}: the closest get all"
    );
    assert!(
        got.contains("Y5") && play.open_words.len() > steps / 2 && !play.restricted_reasons.is_empty(),
        "seed {seed}"
    );
}

/// Checks a mark Y5, corrected to O with a reason, then to I: the third delivery has the second revision without
/// its reason.
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
    let third = |found: Vec<ap_gateway::proto::v1::Delivery>| {
        attendance_content(&found[0]).children[0].marks[0].clone()
    };
    let theirs = third(deliveries_of_object(&residence, &returns[2]).await);
    let (now, before) = (theirs.mark.unwrap(), &theirs.earlier[0]);
    assert_eq!((now.code.as_str(), before.code.as_str(), before.revision), ("I", "O", 2));
    for stored in [&now, before] {
        assert_eq!([&*stored.comment, &*stored.correction_reason, &*stored.site], ["", "", ""]);
        assert_eq!(stored.minutes_planned, Some(150));
    }
    let read = get_attendance(&residence, &placement).await.unwrap().marks.remove(0);
    let first = &read.earlier[1];
    assert!(first.not_possible && first.minutes_planned.is_none() && first.suggested_code.is_empty());
    let whole = third(deliveries_of_object(&school, &returns[2]).await);
    assert_eq!(whole.earlier[0].correction_reason, "released from custody");
    assert_eq!(whole.mark.unwrap().site, "a parent telephoned");
}

/// Checks that the note of a notice after a restricted one is hidden from the provider, also for a session beside
/// it.
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
            request_id: new_id(),
            placement_id: placement.clone(),
            sessions: days.iter().map(session).collect(),
            code: code.to_owned(),
            note: note.to_owned(),
            ..NotifyExpectedAbsenceRequest::default()
        };
        client.call(returns_service::NOTIFY_EXPECTED_ABSENCE, &request).await.unwrap().message.notice_id
    };
    let note_of = async |reader: &Client, notice: &str| {
        let found = deliveries_of_object(reader, notice).await;
        let Some(Content::ExpectedAbsence(content)) = &found[0].content else { panic!("no notice") };
        content.absences.iter().map(|absence| absence.note.clone()).collect::<Vec<_>>()
    };
    let (monday, tuesday, friday) = ("2026-11-23", "2026-11-24", "2026-11-27");
    let first = notify(&school, &[monday], "Y5", "remand").await;
    assert_eq!(note_of(&riverside, &first).await, [""]);
    let second = notify(&school, &[monday], "I", "released from custody").await;
    assert_eq!(note_of(&riverside, &second).await, [""]);
    // Monday is unchanged and not stored again, but the note is still about it.
    let third = notify(&school, &[monday, tuesday], "I", "since custody").await;
    assert_eq!(note_of(&riverside, &third).await, [""]);
    // The commissioner may read the school's reason, and may repeat it.
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
async fn restricted_codes_are_revealed_by_no_text_on_sqlite() {
    for seed in 1..=4 {
        let world = World::sqlite().await;
        no_text_reveals_restricted_codes(&world, seed, 48).await;
        if seed == 1 {
            a_third_revision_does_not_tell_of_the_first(&world).await;
            a_notice_does_not_tell_of_one_before(&world).await;
        }
        world.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn restricted_codes_are_revealed_by_no_text_on_postgresql() {
    let world = World::postgres().await;
    no_text_reveals_restricted_codes(&world, 5, 48).await;
    a_third_revision_does_not_tell_of_the_first(&world).await;
    a_notice_does_not_tell_of_one_before(&world).await;
    world.stop().await;
}
