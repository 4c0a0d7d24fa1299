extension MailchimpClient {
    /// Reads one page of a list's members.
    public func members(_ list: String, _ filter: MemberFilter = MemberFilter()) async throws(MailchimpError)
        -> MemberPage
    {
        try await decoded(listing(list, filter))
    }

    /// Reads one page as the JSON text that Mailchimp sent, for Postgres to take apart.
    public func rawMembers(
        _ list: String, _ filter: MemberFilter = MemberFilter()
    ) async throws(MailchimpError) -> RawPage {
        let body = try await body(listing(list, filter))
        guard let page = RawPage(body, of: "members") else {
            throw .malformed("page of members", body, sideEffects: false)
        }
        return page
    }

    /// Counts the members of a status, or all but the archived; the list's own statistics are hours behind.
    public func memberCount(_ list: String, status: MemberStatus? = nil) async throws(MailchimpError) -> Int64 {
        struct Count: Decodable { var total_items: Int64 }
        return try await decoded(listing(list, MemberFilter(status: status, count: 0)), as: Count.self).total_items
    }

    private func listing(_ list: String, _ filter: MemberFilter) -> Call {
        var call = Call.get("lists", list, "members", query: filter.query)
        // A thousand members with eighty long merge fields each still fit.
        call.maximumBody = 32 << 20
        return call
    }
}
