/// Looking at the members of a list through the control door.
extension World {
    /// More than so many are not looked through for one answer, since everything else waits meanwhile.
    private static let mostSearched = 200_000

    func inspect(_ call: Call, _ audience: Audience) throws(Problem) -> JSON {
        let offset = try call.query.number("offset", default: 0, in: 0...Int.max)
        let count = try call.query.number("count", default: 100, in: 0...10_000)
        let wanted = call.query["status"].flatMap { MemberStatus(rawValue: $0) }
        let search = call.query["search"]?.lowercased() ?? ""
        let isByChange = call.query["order"] == "changed"
        let inspection = MemberInspection(audience)
        var found: [JSON] = []
        var passed = 0
        var searched = 0
        /// Takes one member up; returns whether the next one is wanted.
        func take(_ slot: Int) -> Bool {
            guard let status = audience.statuses[slot], wanted == nil || status == wanted else { return true }
            if !search.isEmpty {
                searched += 1
                guard searched <= Self.mostSearched else { return false }
            }
            guard let member = audience.member(at: slot),
                search.isEmpty || member.address.lowercased().contains(search)
            else { return true }
            passed += 1
            if passed > offset, found.count < count { found.append(inspection.json(member)) }
            return passed <= offset + count
        }
        // Whoever names a contact exactly gets him, however many there are.
        if !search.isEmpty, let slot = audience.slot(reference: search) {
            _ = take(slot)
        } else if isByChange {
            for slot in audience.changes.newestFirst where !take(slot) { break }
        } else {
            for slot in audience.statuses.indices where !take(slot) { break }
        }
        let total = audience.count.filter { wanted == nil || $0.key == wanted }.values.reduce(0, +)
        return [
            "members": .array(found), "total": search.isEmpty ? .integer(total) : .null,
            "more": .bool(passed > offset + count || searched > Self.mostSearched),
        ]
    }
}
