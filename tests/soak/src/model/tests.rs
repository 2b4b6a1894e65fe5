use super::*;

const SECOND: Duration = Duration::from_secs(1);

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

fn ending(started: Instant, settled: Option<(Instant, bool)>) -> Ending {
    Ending { target: Target::Key(String::new()), started, settled, void: false }
}

/// Somebody's session, and a token of it.
fn signed_in(model: &mut Model, idle: Option<Duration>) -> (SessionId, TokenId) {
    let session = model.add_session(Some(0), None, Instant::now(), idle);
    (session, model.add_token(session))
}

#[test]
fn what_was_sent_after_an_end_was_answered_is_refused() {
    let now = Instant::now();
    let ending = ending(now, Some((now + SECOND, true)));
    assert_eq!(effect(&ending, now + SECOND, None, true), Verdict::Out);
    assert_eq!(effect(&ending, now, None, true), Verdict::Either, "they overlap");
}

#[test]
fn an_end_that_is_not_answered_yet_or_not_sure_allows_both() {
    let now = Instant::now();
    let later = now + DAY;
    assert_eq!(effect(&ending(now, None), later, Some(now), true), Verdict::Either);
    let unsure = ending(now, Some((now + SECOND, false)));
    assert_eq!(effect(&unsure, later, Some(now), true), Verdict::Either);
    let of_perhaps_another = ending(now, Some((now + SECOND, true)));
    assert_eq!(effect(&of_perhaps_another, later, Some(now), false), Verdict::Either);
}

#[test]
fn who_was_let_in_after_an_end_that_was_not_sure_stays_in() {
    let now = Instant::now();
    let unsure = ending(now, Some((now + SECOND, false)));
    assert_eq!(effect(&unsure, now + DAY, Some(now + SECOND), true), Verdict::In);
}

#[test]
fn an_end_that_never_reached_the_site_changes_nothing() {
    let now = Instant::now();
    let void = Ending { void: true, ..ending(now, Some((now, true))) };
    assert_eq!(effect(&void, now + DAY, None, true), Verdict::In);
}

#[test]
fn a_token_that_was_replaced_is_refused_and_its_session_lives() {
    let mut model = Model::default();
    let (session, old) = signed_in(&mut model, None);
    let new = model.add_token(session);
    let rotation = model.ending(Target::Token(old));
    model.settle(rotation, true);
    let sent = Instant::now();
    assert_eq!(model.verdict(old, sent, &[]), Verdict::Out);
    assert_eq!(model.verdict(old, sent, &[rotation]), Verdict::In, "its own request");
    assert_eq!(model.verdict(new, sent, &[]), Verdict::In);
}

#[test]
fn after_a_cut_logout_the_next_answer_decides() {
    for let_in in [true, false] {
        let mut model = Model::default();
        let (session, token) = signed_in(&mut model, None);
        let logout = model.ending(Target::Session(session));
        model.begin(token);
        model.conclude(token, logout, None);
        let over = Instant::now() + AFTERMATH + SECOND;
        assert_eq!(model.verdict(token, over, &[]), Verdict::Either);
        model.begin(token);
        model.judge(token, over, &[], let_in).unwrap();
        let decided = if let_in { Verdict::In } else { Verdict::Out };
        assert_eq!(model.verdict(token, over + SECOND, &[]), decided);
        model.begin(token);
        model.judge(token, over + SECOND, &[], !let_in).unwrap_err();
    }
}

#[test]
fn who_is_let_in_while_a_cut_logout_may_still_come_may_be_refused_later() {
    let mut model = Model::default();
    let (session, token) = signed_in(&mut model, None);
    let logout = model.ending(Target::Session(session));
    model.abandon(logout);
    model.begin(token);
    model.judge(token, Instant::now(), &[], true).unwrap();
    assert_eq!(model.verdict(token, Instant::now() + SECOND, &[]), Verdict::Either);
}

#[test]
fn a_session_expires_unless_a_request_may_have_kept_it() {
    let mut model = Model::default();
    let (session, token) = signed_in(&mut model, Some(10 * SECOND));
    model.begin(token);
    let now = Instant::now();
    assert_eq!(model.verdict(token, now, &[]), Verdict::In);
    assert_eq!(model.verdict(token, now + 11 * SECOND, &[]), Verdict::Out);
    // Another one is under way, and is cut: a logout.
    let logout = model.ending(Target::Session(session));
    model.begin(token);
    assert_ne!(model.verdict(token, now + 11 * SECOND, &[]), Verdict::Out);
    model.conclude(token, logout, None);
    assert_ne!(model.verdict(token, now + 11 * SECOND, &[]), Verdict::Out);
    assert_eq!(model.verdict(token, now + AFTERMATH + 11 * SECOND, &[]), Verdict::Out);
}

#[test]
fn a_revocation_of_all_others_spares_its_own_session_another_user_and_what_came_later() {
    let mut model = Model::default();
    let (own, own_token) = signed_in(&mut model, None);
    let (_, other) = signed_in(&mut model, None);
    let foreign = model.add_session(Some(1), None, Instant::now(), None);
    let foreign = model.add_token(foreign);
    let ending = model.ending(Target::Others { account: 0, but: own });
    let (_, meanwhile) = signed_in(&mut model, None);
    model.settle(ending, true);
    let (_, later) = signed_in(&mut model, None);
    let sent = Instant::now();
    let verdicts =
        [own_token, other, foreign, meanwhile, later].map(|t| model.verdict(t, sent, &[]));
    let [own_token, other, foreign, meanwhile, later] = verdicts;
    assert_eq!([own_token, foreign, later], [Verdict::In; 3]);
    assert_eq!((other, meanwhile), (Verdict::Out, Verdict::Either));
}
