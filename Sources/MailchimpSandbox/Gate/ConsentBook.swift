/// What the contacts of one list said, and what was read of them.
struct ConsentBook: Sendable {
    /// A no that stands.
    struct No: Sendable {
        let contact: HexID
        let address: HexID
        let kind: String
        let at: Moment
        /// When the first reading was answered that began after it and could have shown it.
        var shown: ContinuousClock.Instant?
        /// Whether the contact was deleted since, so that no reading shows the no any more.
        var isGone = false

        func isKnown(at instant: ContinuousClock.Instant, _ grace: Duration) -> Bool {
            shown.map { $0 + grace <= instant } ?? false
        }
    }

    var born: [HexID: Moment] = [:]
    private var nos: [HexID: No] = [:]
    private var contactsWithNo: [HexID: Set<HexID>] = [:]
    /// When the newest reading of a contact began, and the newest that found nobody at an address.
    private var read: [HexID: Moment] = [:]
    private var foundAbsent: [HexID: Moment] = [:]
    private var passes: [String: ListingPass] = [:]
    /// The newest complete pass of the ordinary listing, and that of the archived contacts.
    private var complete: [String: ListingPass] = [:]
    /// Since when the list is known in full: the beginning of the newest passes that leave no gap.
    private var covered: Moment?

    /// The first no of a contact stands until it is taken back.
    mutating func add(_ no: No) {
        if nos[no.contact] == nil { nos[no.contact] = no }
        contactsWithNo[no.address, default: []].insert(no.contact)
    }

    mutating func clear(_ contact: HexID, _ address: HexID) {
        for contact in (contactsWithNo.removeValue(forKey: address) ?? []).union([contact]) { nos[contact] = nil }
    }

    mutating func vanish(_ contact: HexID, _ address: HexID, at moment: Moment) {
        if nos[contact] == nil {
            add(No(contact: contact, address: address, kind: "forgotten", at: moment))
        }
        nos[contact]?.isGone = true
    }

    /// The standing nos of a contact and of everybody who stood at his address.
    func nos(_ contact: HexID, _ address: HexID) -> [No] {
        contactsWithNo[address, default: []].union([contact]).compactMap { nos[$0] }
    }

    /// Whether something was read that a call may rely on: the contact just before, or his absence lately.
    func isRead(_ contact: HexID, _ address: HexID, before call: Moment) -> Bool {
        if let read = read[contact], call.second - read.second <= ConsentAudit.readingLasts { return true }
        return [foundAbsent[address], covered].contains { moment in
            guard let moment, call.second - moment.second <= ConsentAudit.absenceLasts else { return false }
            // Whoever stood there when it was read was not absent.
            return born[contact].map { moment.tick < $0.tick } ?? true
        }
    }

    mutating func see(_ sighting: Sighting, began: Moment, answered: ContinuousClock.Instant) {
        switch sighting.what {
        case .contact(let contact): see(contact, began, answered)
        case .nobody(let reference):
            if foundAbsent[reference].map({ $0.tick < began.tick }) ?? true { foundAbsent[reference] = began }
        case .page(let page):
            for contact in page.contacts { see(contact, began, answered) }
            see(page, began, answered)
        }
    }

    private mutating func see(_ contact: HexID, _ began: Moment, _ answered: ContinuousClock.Instant) {
        if read[contact].map({ $0.tick < began.tick }) ?? true { read[contact] = began }
        show(contact, began, answered)
    }

    private mutating func show(_ contact: HexID, _ began: Moment, _ answered: ContinuousClock.Instant) {
        guard let no = nos[contact], no.shown == nil, !no.isGone, no.at.tick < began.tick else { return }
        nos[contact]?.shown = answered
    }

    private mutating func see(_ page: Sighting.Page, _ began: Moment, _ answered: ContinuousClock.Instant) {
        guard let listing = page.listing else { return }
        var pass = passes[listing] ?? ListingPass(began: began, since: page.since)
        if page.offset == 0, pass.hasBeginning || pass.since != page.since {
            pass = ListingPass(began: began, since: page.since)
        }
        guard pass.since == page.since else { return }
        pass.add(page, began: began)
        passes[listing] = pass
        guard pass.isComplete else { return }
        passes[listing] = nil
        complete[listing] = pass
        guard let ordinary = complete[""], let archived = complete["archived"] else { return }
        let pair = ordinary.began.tick < archived.began.tick ? ordinary.began : archived.began
        let since = [ordinary.since, archived.since].compactMap { $0 }.max()
        // A complete reading that did not meet somebody who stood there could have shown him too.
        for no in nos.values where since.map({ $0 < no.at.second }) ?? true { show(no.contact, pair, answered) }
        guard since.map({ since in covered.map { since <= $0.second } ?? false }) ?? true else { return }
        if covered.map({ $0.tick < pair.tick }) ?? true { covered = pair }
    }
}

/// The pages of one listing from its first contact to its last, in whatever order they come.
struct ListingPass: Sendable {
    private(set) var began: Moment
    let since: Int?
    private var total = 0
    private var ranges: [Range<Int>] = []

    init(began: Moment, since: Int?) {
        self.began = began
        self.since = since
    }

    var hasBeginning: Bool { ranges.contains { $0.lowerBound == 0 } }

    mutating func add(_ page: Sighting.Page, began: Moment) {
        if began.tick < self.began.tick { self.began = began }
        total = page.total
        ranges.append(page.offset..<(page.offset + max(page.contacts.count, 1)))
    }

    var isComplete: Bool {
        var reached = 0
        for range in ranges.sorted(by: { $0.lowerBound < $1.lowerBound }) where range.lowerBound <= reached {
            reached = max(reached, range.upperBound)
        }
        return reached >= max(total, 1)
    }
}
