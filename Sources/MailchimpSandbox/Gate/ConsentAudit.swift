/// A point in the order of everything that happens in the sandbox.
struct Moment: Sendable {
    /// Its place in the order: what happens in one second has an order too.
    let tick: Int
    /// The sandbox's time.
    let second: Int
    /// The real time, for what a caller can have taken in.
    let instant: ContinuousClock.Instant
}

/// Judges every call that made a contact subscribed by what its caller could have known.
///
/// It remembers when each contact said no, deleted ones too, and when each reading began that could have shown it. A no
/// is known to a call when such a reading began after the no and was answered before the call came in.
struct ConsentAudit: Sendable {
    /// How one call stands.
    enum Verdict: String, Sendable {
        /// The contact had said no, and a reading could have shown it.
        case knownNo = "subscribed_against_known_no"
        /// The contact had said no after the last reading.
        case noInBetween = "no_in_between"
        /// Nothing had been read that such a call may rely on.
        case withoutRead = "subscribed_without_read"
    }

    /// A call that is not in order.
    struct Case: Sendable {
        let verdict: Verdict
        let at: Moment
        let noAt: Int?
        let no: String?
        let list: String
        let address: String
        let request: String
        /// When the contact was unsubscribed again, or took back the no himself.
        var restoredAt: Int?
    }

    /// How old a reading may be that did not find the address.
    static let absenceLasts = 15 * 60
    /// How old a reading of the contact himself may be: a call's own time at the most.
    static let readingLasts = 120
    /// Within how many seconds a no that fell in between must be restored.
    static let restoring = 60

    /// How long after its answer a reading counts as known to the caller.
    var grace: Duration = .zero
    private(set) var counts: [Verdict: Int] = [:]
    private(set) var cases = Ring<Case>(capacity: 1000)
    private(set) var restored = 0
    private(set) var restoredLate = 0
    /// Cases of a no in between that nothing has restored yet, by the contact.
    private(set) var open: [HexID: Case] = [:]
    private var arrivals: [String: Moment] = [:]
    private var lists: [String: ConsentBook] = [:]
    private var tick = 0

    mutating func moment(second: Int) -> Moment {
        tick += 1
        return Moment(tick: tick, second: second, instant: .now)
    }

    /// Starts counting anew; what was said and read stays known.
    mutating func reset() {
        counts = [:]
        cases.removeAll()
        restored = 0
        restoredLate = 0
        open = [:]
    }

    /// A call comes in: what it is about to do is decided already.
    mutating func arrive(_ request: String, second: Int) {
        arrivals[request] = moment(second: second)
    }

    /// A call is over; `sighting` is what its caller got to see.
    mutating func leave(_ request: String, sighting: Sighting?) {
        guard let began = arrivals.removeValue(forKey: request), let sighting else { return }
        lists[sighting.list, default: ConsentBook()].see(sighting, began: began, answered: .now)
    }

    /// A contact comes to be in a list.
    mutating func appear(_ contact: HexID, in list: String, at second: Int) {
        let moment = moment(second: second)
        lists[list, default: ConsentBook()].born[contact] = moment
    }

    /// A contact says no, in whatever state he is.
    mutating func sayNo(_ contact: HexID, _ address: HexID, _ kind: String, in list: String, at second: Int) {
        let moment = moment(second: second)
        lists[list, default: ConsentBook()].add(
            ConsentBook.No(contact: contact, address: address, kind: kind, at: moment))
    }

    /// A contact signs up himself: what he said before is taken back.
    mutating func sayYes(_ contact: HexID, _ address: HexID, in list: String, at second: Int) {
        lists[list]?.clear(contact, address)
        settle(contact, at: second)
    }

    /// A contact is deleted for good, which is a no as well.
    mutating func vanish(_ contact: HexID, _ address: HexID, in list: String, at second: Int) {
        lists[list, default: ConsentBook()].vanish(contact, address, at: moment(second: second))
        settle(contact, at: second)
    }

    /// A contact is not subscribed any more, and everybody can see it.
    mutating func settle(_ contact: HexID, at second: Int) {
        guard var found = open.removeValue(forKey: contact) else { return }
        found.restoredAt = second
        found.restoredAt = second
        if second - found.at.second <= Self.restoring { restored += 1 } else { restoredLate += 1 }
        cases.append(found)
    }

    /// A call made a contact subscribed.
    mutating func subscribe(
        _ contact: HexID, _ hash: HexID, _ address: String, in list: String, request: String, at second: Int
    ) {
        let at = moment(second: second)
        let arrival = arrivals[request] ?? at
        let book = lists[list, default: ConsentBook()]
        func note(_ verdict: Verdict, _ no: ConsentBook.No?) {
            counts[verdict, default: 0] += 1
            let found = Case(
                verdict: verdict, at: at, noAt: no?.at.second, no: no?.kind, list: list, address: address,
                request: request)
            if verdict == .noInBetween { open[contact] = found } else { cases.append(found) }
        }
        let nos = book.nos(contact, hash)
        if let known = nos.first(where: { $0.isKnown(at: arrival.instant, grace) }) {
            note(.knownNo, known)
        } else if let no = nos.first {
            note(.noInBetween, no)
        }
        if !book.isRead(contact, hash, before: arrival) { note(.withoutRead, nil) }
    }
}
