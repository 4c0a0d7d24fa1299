extension MailchimpClient {
    /// Reads the account behind the credential.
    public func root() async throws(MailchimpError) -> Account {
        try await decoded(
            .get(
                query: [
                    (
                        "fields",
                        "account_id,login_id,account_name,username,email,role,pricing_plan_type,account_timezone,"
                            + "total_subscribers"
                    )
                ]))
    }

    /// Asks whether Mailchimp answers and takes the credential.
    public func ping() async throws(MailchimpError) {
        struct Health: Decodable { var health_status: String }
        _ = try await decoded(.get("ping"), as: Health.self)
    }

    /// Lists the account's lists.
    public func lists(offset: Int = 0, count: Int = 100) async throws(MailchimpError) -> MailingListPage {
        try await decoded(
            .get(
                "lists",
                query: [
                    ("offset", String(offset)), ("count", String(count)), ("exclude_fields", "lists._links,_links"),
                ]))
    }

    /// Reads one list.
    public func list(_ id: String) async throws(MailchimpError) -> MailingList {
        try await decoded(.get("lists", id, query: [("exclude_fields", "_links")]))
    }

    /// Reads all merge fields of a list, of which there are at most eighty.
    public func mergeFields(_ list: String) async throws(MailchimpError) -> [MergeField] {
        struct Page: Decodable { var merge_fields: [MergeField] }
        let query = [(name: "count", value: "1000"), (name: "exclude_fields", value: "merge_fields._links,_links")]
        return try await decoded(.get("lists", list, "merge-fields", query: query), as: Page.self).merge_fields
    }

    /// Adds a merge field; a list has room for thirty, or for eighty on the dearest plan.
    public func addMergeField(_ list: String, _ field: NewMergeField) async throws(MailchimpError) -> MergeField {
        try await decoded(.write("POST", "lists", list, "merge-fields", json: field))
    }
}
