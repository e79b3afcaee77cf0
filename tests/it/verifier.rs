//! The verifier of `persona check-delivery`, held to made-up traces: a right one is found right, and each way to break the
//! contract is found and shown by few records.

use std::sync::Arc;

use persona_community::{
    channel::Channel,
    check::{
        MARK,
        trace::{Heard, Place, Places, Record, View, What},
        verify::{Rules, Violation, shortest, violations},
    },
    event::{ChatMessage, Chunk, Event, Fact, FinishReason, Reply, ResetReason},
    id::{JobId, MessageId, StreamId},
    job::State,
    timestamp::Timestamp,
};
use proptest::{prelude::*, sample::Index};

fn room() -> Channel {
    "channel:check".parse().unwrap()
}

fn place(epoch: u32, offset: u64) -> Place {
    Place { epoch: (epoch, 1), offset }
}

fn cursor(epoch: u32, offset: u64) -> Places {
    Places::from([(room(), place(epoch, offset))])
}

fn event(fact: Fact) -> Arc<Event> {
    Arc::new(Event { timestamp: Timestamp::from_millis(0), channel: room(), fact })
}

fn content(number: usize) -> String {
    format!("{MARK}{number}")
}

fn chat(number: usize) -> Fact {
    let (id, user_id, user_name) = (MessageId::new(), "u_1".parse().unwrap(), "Ada".to_owned());
    Fact::Chat { result: ChatMessage { id, content: content(number), user_id, user_name, timestamp: Timestamp::from_millis(0), client_id: None } }
}

/// A reply in so many pieces, with its end.
fn reply(job_id: JobId, pieces: u32) -> Vec<Fact> {
    let (stream_id, id) = (StreamId::new(), MessageId::new());
    let chunk = |seq, text: &str, done| {
        let result =
            Chunk { stream_id, text: text.into(), done, provider: None, seq, restart: false, persona_id: None, persona_name: None, reply_to: None };
        Fact::AiChatChunk { job_id, result }
    };
    let mut facts: Vec<Fact> = (0..pieces).map(|seq| chunk(seq, "word ", false)).collect();
    facts.push(chunk(pieces, "", true));
    let (content, provider, finish_reason) = ("word ".repeat(pieces as usize), "offline".into(), FinishReason::Stop);
    let result = Reply {
        id,
        content,
        provider,
        timestamp: Timestamp::from_millis(0),
        stream_id,
        reply_to: None,
        finish_reason,
        persona_id: None,
        persona_name: None,
    };
    facts.push(Fact::AiChat { job_id, result, failure: None });
    facts
}

/// A trace, and what it is made of.
#[derive(Debug, Clone)]
struct Run {
    records: Vec<Record>,
    log: Vec<Arc<Event>>,
    views: u32,
}

impl Run {
    fn note(&mut self, what: What) {
        // Everything that is asked for is asked for after the views have begun.
        let at = self.records.len() as u64 + 10;
        self.records.push(Record { at, what });
    }

    fn open(&mut self, view: u32, after: u64) {
        let opened = What::Opened { view: View(view), server: 0, asked: cursor(1, after), cursor: cursor(1, after), channels: vec![room()] };
        self.note(opened);
    }

    fn tell(&mut self, view: u32, offset: u64) {
        let event = Heard(self.log[offset as usize - 1].clone());
        self.note(What::Told { view: View(view), cursor: cursor(1, offset), event });
    }

    /// A right run: `messages` messages and a reply in `pieces` pieces, told to all views, each cut after some event.
    fn right(messages: usize, pieces: u32, cuts: &[Index]) -> Self {
        let job = JobId::new();
        let mut facts: Vec<Fact> = (0..messages).map(chat).collect();
        facts.extend(reply(job, pieces));
        let mut run = Self { records: Vec::new(), log: facts.into_iter().map(event).collect(), views: cuts.len() as u32 };
        for view in 0..run.views {
            run.note(What::Page { view: View(view), channel: room(), messages: Vec::new(), older: Vec::new(), streaming: Vec::new() });
            run.open(view, 0);
        }
        for offset in 1..=run.log.len() {
            run.acknowledge(offset, job);
            for (view, cut) in (0..).zip(cuts) {
                run.tell(view, offset as u64);
                if cut.index(run.log.len()) == offset {
                    run.note(What::Cut { view: View(view), why: "cut".into() });
                    run.open(view, offset as u64);
                }
            }
        }
        let kept = run.log.iter().filter_map(|event| match &event.fact {
            Fact::Chat { result } => Some((result.id, result.content.clone())),
            Fact::AiChat { result, .. } => Some((result.id, result.content.clone())),
            _ => None,
        });
        let messages = kept.collect();
        run.note(What::Kept { channel: room(), messages });
        run.note(What::Ended { job, state: State::Completed });
        run
    }

    fn acknowledge(&mut self, offset: usize, job: JobId) {
        let Fact::Chat { result } = &self.log[offset - 1].fact else { return };
        let (message, content) = (result.id, result.content.clone());
        let said = What::Said { since: self.records.len() as u64 + 10, channel: room(), message, content, job: (offset == 1).then_some(job) };
        self.note(said);
    }

    fn violations(&self) -> Vec<Violation> {
        violations(&self.records, Rules::default())
    }

    /// Where this view is told this place.
    fn index_of(&self, view: u32, offset: u64) -> usize {
        let is_it =
            |record: &Record| matches!(&record.what, What::Told { view: told, cursor, .. } if told.0 == view && cursor[&room()].offset == offset);
        self.records.iter().position(is_it).unwrap()
    }

    /// Exactly this is wrong besides what follows from it, and few records show it, none of which could be left out.
    fn shows(&self, violation: &Violation, most: usize) {
        let found = self.violations();
        assert!(found.contains(violation), "{violation} is not found, but {found:?}");
        let short = shortest(&self.records, Rules::default(), violation);
        assert!(short.len() <= most, "{} records are shown for {violation}: {short:?}", short.len());
        for left_out in 0..short.len() {
            let mut shorter = short.clone();
            shorter.remove(left_out);
            assert!(!violations(&shorter, Rules::default()).contains(violation), "{shorter:?} shows {violation} as well");
        }
    }
}

fn run() -> impl Strategy<Value = Run> {
    (1_usize..8, 1_u32..5, prop::collection::vec(any::<Index>(), 1..4)).prop_map(|(messages, pieces, cuts)| Run::right(messages, pieces, &cuts))
}

proptest! {
    #[test]
    fn a_right_trace_is_right_and_is_read_back_as_it_was_written(run in run()) {
        prop_assert_eq!(run.violations(), vec![]);
        let read: Vec<Record> = run.records.iter().map(|record| serde_json::from_str(&record.to_string()).unwrap()).collect();
        prop_assert_eq!(read, run.records);
    }

    #[test]
    fn an_event_that_one_view_misses_is_a_hole_or_the_view_is_behind(mut run in run(), view in any::<Index>(), at in any::<Index>()) {
        let (view, missing) = (view.index(run.views as usize) as u32, at.index(run.log.len()) as u64 + 1);
        run.records.remove(run.index_of(view, missing));
        let last = missing == run.log.len() as u64;
        let (view_of, channel, from) = (View(view), room(), place(1, missing - 1));
        let gap = Violation::UntoldGap { view: view_of, channel: channel.clone(), from };
        if run.violations().contains(&gap) {
            // It was cut right there, and the next stream claims to be behind what was never told.
            run.shows(&gap, 3);
        } else if !last {
            run.shows(&Violation::Hole { view: view_of, channel, missing: place(1, missing) }, 2);
        } else if run.views > 1 {
            run.shows(&Violation::Behind { view: View(view), channel: room() }, 3);
        }
    }

    #[test]
    fn an_event_that_comes_again_is_found(mut run in run(), view in any::<Index>(), at in any::<Index>(), later in 0_usize..3) {
        let (view, offset) = (view.index(run.views as usize) as u32, at.index(run.log.len()) as u64 + 1);
        let index = run.index_of(view, offset);
        let again = run.records[index].clone();
        run.records.insert((index + 1 + later).min(run.records.len()), again);
        run.shows(&Violation::Again { view: View(view), channel: room(), place: place(1, offset) }, 2);
    }

    #[test]
    fn two_views_that_are_told_different_events_at_one_place_are_found(mut run in run(), at in any::<Index>()) {
        prop_assume!(run.views > 1);
        let offset = at.index(run.log.len()) as u64 + 1;
        let index = run.index_of(1, offset);
        let What::Told { event: Heard(told), .. } = &mut run.records[index].what else { unreachable!() };
        *told = event(chat(99));
        run.shows(&Violation::Disagreement { channel: room(), place: place(1, offset) }, 2);
    }

    #[test]
    fn a_message_that_is_acknowledged_and_not_kept_is_lost(mut run in run(), at in any::<Index>()) {
        let kept = run.records.iter_mut().find_map(|record| if let What::Kept { messages, .. } = &mut record.what { Some(messages) } else { None });
        let kept = kept.unwrap();
        let people = kept.len() - 1;
        let (message, _) = kept.remove(at.index(people));
        run.shows(&Violation::Lost { channel: room(), message }, 2);
        run.shows(&Violation::Phantom { channel: room(), message }, 2);
    }

    #[test]
    fn made_up_records_never_panic(run in run(), order in prop::collection::vec(any::<Index>(), 0..60)) {
        let records: Vec<Record> = order.iter().map(|index| run.records[index.index(run.records.len())].clone()).collect();
        let _ = violations(&records, Rules::default());
    }
}

/// A run of two messages and a reply in two pieces, on two views that are not cut.
fn plain() -> Run {
    let mut run = Run::right(2, 2, &[]);
    run.log.truncate(6);
    let whole = std::mem::take(&mut run.records);
    for view in 0..2 {
        run.open(view, 0);
    }
    run.records.extend(whole);
    for offset in 1..=run.log.len() as u64 {
        (0..2).for_each(|view| run.tell(view, offset));
    }
    run
}

fn job_of(run: &Run) -> JobId {
    run.log.iter().find_map(|event| if let Fact::AiChat { job_id, .. } = event.fact { Some(job_id) } else { None }).unwrap()
}

/// Another event that view 0 is told last, as if it were the next one of the log.
fn told_last(run: &mut Run, fact: Fact) {
    run.log.push(event(fact));
    run.tell(0, run.log.len() as u64);
}

#[test]
fn a_second_end_is_found_and_so_is_a_piece_after_the_end() {
    let (view, channel) = (View(0), room());
    let mut run = plain();
    let (job, end) = (job_of(&run), run.log.last().unwrap().fact.clone());
    told_last(&mut run, end);
    run.shows(&Violation::SecondEnd { view, channel: channel.clone(), job }, 2);

    let mut run = plain();
    let (job, piece) = (job_of(&run), run.log[3].fact.clone());
    told_last(&mut run, piece);
    run.shows(&Violation::AfterTheEnd { view, channel, job }, 2);
}

#[test]
fn pieces_of_two_attempts_in_one_text_are_found() {
    let mut run = plain();
    let job = job_of(&run);
    // A worker that has lost its lease says piece 1 between piece 1 and the end of another's.
    let stray = run.log[3].fact.clone();
    run.log[4] = event(stray);
    for record in &mut run.records {
        if let What::Told { cursor, event, .. } = &mut record.what {
            event.0 = run.log[cursor[&room()].offset as usize - 1].clone();
        }
    }
    run.shows(&Violation::BrokenText { view: View(0), channel: room(), job, seq: 1 }, 3);
}

#[test]
fn a_text_that_ends_as_another_one_than_was_told_is_found() {
    let mut run = plain();
    let job = job_of(&run);
    let Fact::AiChat { mut result, .. } = run.log[5].fact.clone() else { unreachable!() };
    result.content = "another text".into();
    run.log[5] = event(Fact::AiChat { job_id: job, result, failure: None });
    run.records.retain(|record| !matches!(record.what, What::Kept { .. }));
    let last = run.index_of(0, 6);
    run.records.truncate(last);
    run.tell(0, 6);
    run.shows(&Violation::OtherText { view: View(0), channel: room(), job }, 5);
}

#[test]
fn a_message_that_is_kept_otherwise_and_a_job_that_has_ended_otherwise_than_was_told_are_found() {
    let mut run = plain();
    let Fact::AiChat { result, .. } = &run.log.last().unwrap().fact else { unreachable!() };
    let message = result.id;
    for record in &mut run.records {
        if let What::Kept { messages, .. } = &mut record.what {
            messages.iter_mut().find(|(id, _)| *id == message).unwrap().1 = "another text".into();
        }
    }
    run.shows(&Violation::KeptOtherwise { channel: room(), message }, 2);

    let mut run = plain();
    let job = job_of(&run);
    run.note(What::Ended { job, state: State::Cancelled });
    run.shows(&Violation::OtherEnd { job, told: State::Completed, state: State::Cancelled }, 2);
}

#[test]
fn an_accepted_job_without_an_end_is_owed_one_unless_a_gap_was_told() {
    let mut run = plain();
    let job = JobId::new();
    run.note(What::Asked { since: 1_000, channel: room(), job });
    run.shows(&Violation::NoEnd { view: View(0), channel: room(), job }, 2);
    for view in 0..2 {
        run.note(What::Fault { did: "the log is gone".into(), loses_log: true });
        run.records.push(Record { at: 2_000, what: What::Reset { view: View(view), channel: room(), reason: ResetReason::Epoch } });
    }
    assert_eq!(run.violations(), []);
}

#[test]
fn a_message_that_came_in_a_gap_is_owed_by_the_history_that_is_read_again() {
    let mut run = plain();
    let message = MessageId::new();
    run.note(What::Fault { did: "the log is gone".into(), loses_log: true });
    run.note(What::Said { since: 1_000, channel: room(), message, content: content(9), job: None });
    for view in 0..2 {
        run.note(What::Reset { view: View(view), channel: room(), reason: ResetReason::Epoch });
    }
    run.note(What::Page { view: View(0), channel: room(), messages: vec![message], older: Vec::new(), streaming: Vec::new() });
    run.shows(&Violation::Untold { view: View(1), channel: room(), message }, 2);
    assert!(!run.violations().contains(&Violation::Untold { view: View(0), channel: room(), message }));
}

#[test]
fn a_reset_is_right_only_where_something_can_have_been_lost() {
    let (view, channel, reason) = (View(0), room(), ResetReason::Epoch);
    let mut run = plain();
    run.note(What::Reset { view, channel: channel.clone(), reason });
    run.shows(&Violation::NeedlessReset { view, channel: channel.clone(), reason }, 1);

    let mut run = plain();
    run.note(What::Fault { did: "the log is gone".into(), loses_log: true });
    run.note(What::Reset { view, channel: channel.clone(), reason });
    let next = Heard(event(chat(9)));
    let mut same = run.clone();
    same.note(What::Told { view, cursor: cursor(1, 7), event: next.clone() });
    same.shows(&Violation::NeedlessReset { view, channel, reason }, 4);
    run.records.retain(|record| !matches!(record.what, What::Kept { .. }));
    run.note(What::Told { view, cursor: cursor(2, 1), event: next.clone() });
    run.note(What::Reset { view: View(1), channel: room(), reason });
    run.note(What::Told { view: View(1), cursor: cursor(2, 1), event: next });
    assert_eq!(run.violations(), []);
}

#[test]
fn a_stream_that_goes_on_in_another_epoch_without_a_reset_is_found_though_it_was_cut_between() {
    let view = View(0);
    let mut run = plain();
    run.note(What::Fault { did: "the log is gone".into(), loses_log: true });
    let opened = |epoch| What::Opened { view, server: 0, asked: Places::new(), cursor: cursor(epoch, 0), channels: vec![room()] };
    // `ready` says where the stream is, and the reset that was to follow it never came.
    run.note(opened(2));
    run.note(What::Cut { view, why: "cut".into() });
    run.note(opened(2));
    let event = Heard(event(chat(9)));
    run.note(What::Told { view, cursor: cursor(2, 1), event });
    run.shows(&Violation::UntoldGap { view, channel: room(), from: place(1, 6) }, 2);
}

#[test]
fn a_view_that_was_led_into_an_epoch_without_events_is_not_behind() {
    let mut run = plain();
    run.note(What::Fault { did: "the log is gone".into(), loses_log: true });
    for view in [View(0), View(1)] {
        run.note(What::Opened { view, server: 0, asked: cursor(1, 6), cursor: cursor(2, 0), channels: vec![room()] });
        run.note(What::Reset { view, channel: room(), reason: ResetReason::Epoch });
    }
    assert_eq!(run.violations(), []);
}

#[test]
fn what_a_page_shows_does_not_come_again_by_the_stream() {
    let mut run = plain();
    let Fact::Chat { result } = &run.log[0].fact else { unreachable!() };
    let message = result.id;
    run.records.insert(
        0,
        Record { at: 0, what: What::Page { view: View(0), channel: room(), messages: vec![message], older: Vec::new(), streaming: Vec::new() } },
    );
    run.shows(&Violation::MessageTwice { view: View(0), channel: room(), message }, 2);
}

#[test]
fn one_request_that_made_two_messages_is_found() {
    let mut run = plain();
    let messages = vec![(MessageId::new(), content(1)), (MessageId::new(), content(1))];
    run.note(What::Kept { channel: "channel:other".parse().unwrap(), messages });
    run.shows(&Violation::Doubled { channel: "channel:other".parse().unwrap(), content: content(1) }, 1);
}
