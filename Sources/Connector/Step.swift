/// What is to be done about an audience member now.
///
/// Decided by ``MemberState/step(fresh:)`` alone, which reads nothing and calls nothing: the same state always gives
/// the same step, whoever asks, so that repeats, late hooks and crashes converge.
enum Step: Sendable, Equatable {
    /// Nothing; the note says why a wanted delivery does not happen, nil when all is as it should be.
    case nothing(note: String?)
    /// What is known is too old or too uncertain: read the contact, then decide again.
    case read
    /// The address is not in the list: create it as subscribed.
    case create
    /// The contact is subscribed already and not ours: fill its merge fields and keep it.
    case adopt
    /// The merge fields differ.
    case update
    /// The person file's address changed: the same contact gets the new one.
    case move
    /// The contact cannot move: archive it where it is ours, and let the claim go to the new address.
    case replace
    /// Nobody claims it any more.
    case archive
    /// Archived by us, or by Mailchimp and taken back by a user: subscribe it again, once its activity shows no no.
    case unarchive
    /// A call of ours made the contact subscribed, or its answer was lost: look whether a no lay beneath.
    case verify
    /// The person said no here, or a no that our call went over is to be restored.
    case unsubscribe
    /// A user recorded that the person asked for it: have Mailchimp ask her (`pending`).
    case invite
    /// The person was erased: delete the contact for good, whoever put it there.
    case erase
    /// The contact of somebody erased is not there any more: forget it here too.
    case forget
    /// Archived in Mailchimp by somebody else: that is recorded, and nothing is written.
    case removedInMailchimp
}

extension MemberState {
    /// Whether the contact is ours to take away: made by us, or adopted by an instance that does not keep those.
    var isOurs: Bool { ownership == .created || ownership == .adopted && !keepsAdopted }

    /// Decides what is to be done.
    ///
    /// - Parameter fresh: whether the status was read from Mailchimp just now, for this decision.
    /// - Returns: the step; ``Step/read`` is never returned for a fresh state.
    func step(fresh: Bool) -> Step {
        if isErased, claims == 0 { return fresh ? (status == .absent ? .forget : .erase) : .read }
        // A reply may have been lost: what Mailchimp holds is not known until it is read.
        if intent != nil, !fresh { return .read }
        // Nobody saw what lay beneath an archive, and a no may have fallen since the last reading.
        if intent == .creating, status == .subscribed || status == .archived && wasSubscribedByIntent { return .verify }
        if restoresNo, status == .subscribed || status == .pending || status == .archived { return .unsubscribe }
        if unsubscribeHere { return stepToUnsubscribe(fresh: fresh) }
        if invitedAt != nil { return fresh ? .invite : .read }
        // Archiving hides a no that was said since the last reading.
        if claims == 0 { return !isOurs || status != .subscribed ? .nothing(note: nil) : fresh ? .archive : .read }
        if let reason = reasons.first { return .nothing(note: reason) }
        switch status {
        case nil: return fresh ? .create : .read
        case .absent: return movingTo != nil ? .replace : fresh ? .create : .read
        case .subscribed: return stepWhileSubscribed(fresh: fresh)
        case .archived:
            if movingTo != nil { return .replace }
            guard archivedByUs || reactivated else { return .removedInMailchimp }
            return fresh ? .unarchive : .read
        case .unsubscribed, .cleaned, .pending, .transactional: return .nothing(note: status?.rawValue)
        }
    }

    private func stepToUnsubscribe(fresh: Bool) -> Step {
        switch status {
        case .subscribed, .pending: .unsubscribe
        case nil: fresh ? .nothing(note: nil) : .read
        case .absent, .unsubscribed, .cleaned, .transactional, .archived: .nothing(note: nil)
        }
    }

    private func stepWhileSubscribed(fresh: Bool) -> Step {
        guard ownership == .created || ownership == .adopted else { return .adopt }
        if movingTo != nil, movingTo == wantedKey {
            // Where somebody's no bars the new address, nobody is written to at the old one, which she has no more.
            if !targetReasons.isEmpty { return .replace }
            return fresh ? .move : .read
        }
        return appliedFields == wantedFields ? .nothing(note: nil) : .update
    }
}
