/// Pages of a list's members.
extension World {
    func members(_ call: Call, _ audience: Audience, _ links: Links, _ selection: FieldSelection) throws(Problem)
        -> Answer
    {
        let filter = try MemberFilter(call.query, switches)
        let paging = try paging(call)
        let page = filter.page(of: audience, offset: paging.offset, count: paging.count)
        var body = JSONObject()
        if selection.wants("members") {
            let rendering = MemberRendering(audience, links: selection.wants("members", "_links") ? links : nil)
            let members = page.slots.compactMap { audience.member(at: $0).map { rendering.json($0) } }
            body.append("members", .array(members))
        }
        body.append("list_id", .string(audience.id))
        body.append("total_items", .integer(page.total))
        body.append(
            "_links",
            links.collection("/lists/\(audience.id)/members", parent: "/lists/\(audience.id)", schema: "Lists/Members"))
        return .ok(.object(body), schema: "Lists/Members/Collection", members: page.slots.count)
    }
}

/// The filters and the order of a listing.
struct MemberFilter {
    private enum Order: String {
        case timestampOpt = "timestamp_opt"
        case timestampSignup = "timestamp_signup"
        case lastChanged = "last_changed"
    }

    private let status: MemberStatus?
    private let hidesArchived: Bool
    /// The first second that a member may have changed in, and the first that is too late.
    private let changedFrom: Int?
    private let changedBefore: Int?
    private let optFrom: Int?
    private let optBefore: Int?
    private let uniqueEmailID: String?
    private let emailType: String?
    private let onlyVIP: Bool
    private let interests: InterestMatch?
    private let order: Order?
    private let isDescending: Bool

    init(_ query: Query, _ switches: SandboxSwitches) throws(Problem) {
        if let text = query["status"], !text.isEmpty {
            guard let known = MemberStatus(rawValue: text) else {
                let accepted = MemberStatus.allCases.map(\.rawValue).joined(separator: ", ")
                throw .invalid([("status", "Data presented is not one of the accepted values: \(accepted).")])
            }
            status = known
        } else {
            status = nil
        }
        if query.flag("since_last_campaign"), status == nil { throw .missing(["status"]) }
        hidesArchived = switches.listingHidesArchived
        var from = try query.instant("since_last_changed").map { Self.first($0, inclusive: switches.sinceIsInclusive) }
        if let unsubscribed = try query.instant("unsubscribed_since") {
            guard status == .unsubscribed else {
                throw .invalid([("unsubscribed_since", "This filter can only be used with the status unsubscribed.")])
            }
            from = max(from ?? Int.min, Self.first(unsubscribed, inclusive: switches.sinceIsInclusive))
        }
        changedFrom = from
        changedBefore = try query.instant("before_last_changed").map { Self.first($0, inclusive: true) }
        optFrom = try query.instant("since_timestamp_opt").map { Self.first($0, inclusive: switches.sinceIsInclusive) }
        optBefore = try query.instant("before_timestamp_opt").map { Self.first($0, inclusive: true) }
        uniqueEmailID = query["unique_email_id"]
        emailType = query["email_type"]
        onlyVIP = query.flag("vip_only")
        interests = try InterestMatch(query)
        if let field = query["sort_field"], !field.isEmpty {
            guard let known = Order(rawValue: field) else {
                throw .invalid([
                    (
                        "sort_field",
                        "Data presented is not one of the accepted values: timestamp_opt, timestamp_signup, last_changed."
                    )
                ])
            }
            order = known
        } else {
            order = nil
        }
        isDescending = query["sort_dir"]?.uppercased() == "DESC"
    }

    /// The first whole second at or after an instant, or strictly after it.
    private static func first(_ milliseconds: Int, inclusive: Bool) -> Int {
        let floor = milliseconds >= 0 ? milliseconds / 1000 : (milliseconds - 999) / 1000
        if inclusive { return floor * 1000 == milliseconds ? floor : floor + 1 }
        return floor + 1
    }

    func page(of audience: Audience, offset: Int, count: Int) -> (slots: [Int], total: Int) {
        switch order {
        case .timestampOpt, .timestampSignup: return sorted(audience, offset: offset, count: count)
        case .lastChanged: break
        case nil where changedFrom == nil && changedBefore == nil:
            return bySlot(audience, offset: offset, count: count)
        case nil: break
        }
        var slots: [Int] = []
        var total = 0
        audience.changes.visit(from: changedFrom, before: changedBefore, descending: isDescending) { slot in
            guard matches(slot, audience) else { return }
            if total >= offset, slots.count < count { slots.append(slot) }
            total += 1
        }
        return (slots, total)
    }

    private func bySlot(_ audience: Audience, offset: Int, count: Int) -> (slots: [Int], total: Int) {
        var slots: [Int] = []
        var total = 0
        // Without a look at the members themselves the total is known, and the walk ends with the page.
        let known = looksOnlyAtStatus ? audience.count.filter { isVisible($0.key) }.values.reduce(0, +) : nil
        for slot in audience.statuses.indices where matches(slot, audience) {
            if total >= offset { slots.append(slot) }
            total += 1
            if let known, slots.count >= count { return (Array(slots.prefix(count)), known) }
            if slots.count > count { slots.removeLast() }
        }
        return (slots, known ?? total)
    }

    private func sorted(_ audience: Audience, offset: Int, count: Int) -> (slots: [Int], total: Int) {
        var keyed: [(key: Int, slot: Int)] = []
        for slot in audience.statuses.indices where matches(slot, audience) {
            guard let member = audience.member(at: slot), isChanged(member) else { continue }
            let time = order == .timestampOpt ? member.timestampOpt : member.timestampSignup
            keyed.append((time ?? Int.min, slot))
        }
        keyed.sort { isDescending ? ($0.key, $0.slot) > ($1.key, $1.slot) : ($0.key, $0.slot) < ($1.key, $1.slot) }
        return (keyed.dropFirst(offset).prefix(count).map(\.slot), keyed.count)
    }

    private var looksOnlyAtStatus: Bool {
        optFrom == nil && optBefore == nil && uniqueEmailID == nil && emailType == nil && !onlyVIP
            && interests == nil
    }

    private func isVisible(_ candidate: MemberStatus) -> Bool {
        if let status { candidate == status } else { candidate != .archived || !hidesArchived }
    }

    private func isChanged(_ member: Member) -> Bool {
        member.lastChanged >= changedFrom ?? Int.min && member.lastChanged < changedBefore ?? Int.max
    }

    private func matches(_ slot: Int, _ audience: Audience) -> Bool {
        guard let status = audience.statuses[slot], isVisible(status) else { return false }
        guard !looksOnlyAtStatus, let member = audience.member(at: slot) else { return true }
        if let uniqueEmailID, member.uniqueEmailID != uniqueEmailID { return false }
        if let emailType, member.emailType != emailType { return false }
        if onlyVIP, !member.isVIP { return false }
        if let interests, !interests.holds(member.agreements.interests) { return false }
        if let optFrom, member.timestampOpt ?? Int.min < optFrom { return false }
        if let optBefore, member.timestampOpt ?? Int.max >= optBefore { return false }
        return true
    }
}

/// A filter by interests, whose three parameters come together.
struct InterestMatch: Sendable {
    private enum Match: String, CaseIterable {
        case any, all, none
    }

    private let ids: Set<String>
    private let match: Match

    init?(_ query: Query) throws(Problem) {
        let names = ["interest_category_id", "interest_ids", "interest_match"]
        let given = names.filter { query[$0]?.isEmpty == false }
        guard !given.isEmpty else { return nil }
        guard given == names else { throw .missing(names.filter { !given.contains($0) }) }
        guard let match = Match(rawValue: query["interest_match"] ?? "") else {
            throw .notAmong("interest_match", Match.allCases.map(\.rawValue))
        }
        self.match = match
        ids = Set((query["interest_ids"] ?? "").split(separator: ",").map { String($0.trimming) })
    }

    func holds(_ interests: Set<String>) -> Bool {
        switch match {
        case .any: !interests.isDisjoint(with: ids)
        case .all: interests.isSuperset(of: ids)
        case .none: interests.isDisjoint(with: ids)
        }
    }
}
