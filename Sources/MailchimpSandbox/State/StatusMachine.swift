/// What becomes of a call that asks for a status.
enum StatusVerdict: Equatable {
    case unchanged
    case changed
    case refused(StatusRefusal)
}

/// Why a status is refused.
enum StatusRefusal: Equatable {
    case complianceState
    case forgotten
}

/// Which status the API lets a caller set, given what the contact decided before.
///
/// A pure function of facts and switches, so that every cell of the table can be tested.
struct StatusMachine: Sendable {
    let switches: SandboxSwitches

    /// Decides on a contact that the list has.
    func verdict(from consent: Consent, to wanted: MemberStatus) -> StatusVerdict {
        switch consent.status {
        case wanted: .unchanged
        case .subscribed, .transactional: .changed
        case .unsubscribed: fromUnsubscribed(consent, to: wanted)
        case .cleaned: fromCleaned(to: wanted)
        case .pending: fromPending(consent, to: wanted)
        case .archived: fromArchived(consent, to: wanted)
        }
    }

    /// Decides on an address that the list does not have.
    func verdict(forgotten: Bool) -> StatusVerdict {
        forgotten ? .refused(.forgotten) : .changed
    }

    /// Whether DELETE can archive a contact.
    func canArchive(_ status: MemberStatus) -> Bool {
        switch status {
        case .subscribed, .unsubscribed, .transactional: true
        case .cleaned, .pending, .archived: false
        }
    }

    private func fromUnsubscribed(_ consent: Consent, to wanted: MemberStatus) -> StatusVerdict {
        guard consent.unsubscribedBy == .contact else { return .changed }
        return switch wanted {
        case .subscribed: .refused(.complianceState)
        case .pending: allowed(switches.pendingAfterOwnUnsubscribe)
        default: .changed
        }
    }

    private func fromCleaned(to wanted: MemberStatus) -> StatusVerdict {
        switch wanted {
        case .subscribed: .refused(.complianceState)
        case .unsubscribed: allowed(switches.cleanedToUnsubscribed)
        case .pending: allowed(switches.cleanedToPending)
        default: .changed
        }
    }

    private func fromPending(_ consent: Consent, to wanted: MemberStatus) -> StatusVerdict {
        guard wanted == .subscribed else { return .changed }
        // Who said no and was then asked again has not yet said yes.
        let isOwnNoHidden = consent.ownNo == nil || switches.archiveHidesRefusal
        return allowed(switches.pendingToSubscribed && isOwnNoHidden)
    }

    private func fromArchived(_ consent: Consent, to wanted: MemberStatus) -> StatusVerdict {
        guard !switches.archiveHidesRefusal else { return .changed }
        if consent.beneath == .cleaned { return fromCleaned(to: wanted) }
        guard consent.ownNo != nil else { return .changed }
        return switch wanted {
        case .subscribed: .refused(.complianceState)
        case .pending: allowed(switches.pendingAfterOwnUnsubscribe)
        default: .changed
        }
    }

    private func allowed(_ isAllowed: Bool) -> StatusVerdict {
        isAllowed ? .changed : .refused(.complianceState)
    }
}
