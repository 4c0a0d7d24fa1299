/// What an answer showed to whoever got it.
struct Sighting: Sendable {
    let list: String
    let what: What

    enum What: Sendable {
        case contact(HexID)
        /// Nobody by this hash or id.
        case nobody(HexID)
        case page(Page)
    }

    /// A page of a listing.
    struct Page: Sendable {
        /// Which of the two listings that make up the whole list it belongs to: the ordinary one is `""`, the other
        /// `archived`; nil for any other selection, which shows only whom it holds.
        let listing: String?
        let since: Int?
        let offset: Int
        let total: Int
        let contacts: [HexID]
    }

    /// What a call's answer shows of consent; nil when it shows nothing.
    init?(_ call: Call, _ endpoint: Endpoint, _ answer: Result<Answer, Problem>) {
        guard call.method == "GET", let list = endpoint.subject.list else { return nil }
        self.list = list
        switch (endpoint, answer) {
        case (.member, .success(let answer)), (.activity, .success(let answer)):
            guard let contact = Self.contact(answer.body) else { return nil }
            what = .contact(contact)
        case (.member(_, let reference), .failure(let problem)) where problem.status == 404:
            guard let id = reference.contains("@") ? HexID(address: reference) : HexID(hex: reference) else {
                return nil
            }
            what = .nobody(id)
        case (.members, .success(let answer)): what = .page(Page(call.query, answer.body))
        default: return nil
        }
    }

    fileprivate static func contact(_ member: JSON?) -> HexID? {
        member?["contact_id"]?.string.flatMap { HexID(hex: $0) }
    }
}

extension Sighting.Page {
    private static let selections = [
        "before_last_changed", "since_timestamp_opt", "before_timestamp_opt", "unsubscribed_since", "unique_email_id",
        "email_type", "vip_only", "interest_category_id", "since_last_campaign",
    ]

    fileprivate init(_ query: Query, _ body: JSON?) {
        let status = query["status"] ?? ""
        let isSelection = Self.selections.contains { query[$0] != nil }
        listing = !isSelection && (status.isEmpty || status == "archived") ? status : nil
        since = query["since_last_changed"].flatMap { Timestamp.milliseconds($0) }.map { $0 / 1000 }
        offset = query["offset"].flatMap { Int($0) } ?? 0
        total = body?["total_items"]?.integer ?? 0
        contacts = (body?["members"]?.array ?? []).compactMap { Sighting.contact($0) }
    }
}
