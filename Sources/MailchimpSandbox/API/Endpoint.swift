/// A resource of the Marketing API, as its path names it.
enum Endpoint: Sendable, Equatable {
    case root
    case ping
    case batches
    case batch(String)
    case lists
    case list(String)
    case members(String)
    case member(String, String)
    case activity(String, String)
    case memberTags(String, String)
    case deletePermanent(String, String)
    case tagSearch(String)
    case segments(String)
    case segment(String, Int)
    case segmentMembers(String, Int)
    case segmentMember(String, Int, String)
    case categories(String)
    case category(String, String)
    case interests(String, String)
    case interest(String, String, String)
    case mergeFields(String)
    case mergeField(String, Int)
    case webhooks(String)
    case webhook(String, String)

    /// The most parts that a path of the API has.
    static let deepest = 8

    init?(_ segments: [String]) {
        switch (segments.first, segments.count) {
        case (nil, _): self = .root
        case ("ping", 1): self = .ping
        case ("batches", 1): self = .batches
        case ("batches", 2): self = .batch(segments[1])
        case ("lists", 1): self = .lists
        case ("lists", 2): self = .list(segments[1])
        case ("lists", _): self.init(list: segments[1], rest: Array(segments[2...]))
        default: return nil
        }
    }

    private init?(list: String, rest: [String]) {
        switch (rest[0], rest.count) {
        case ("members", 1): self = .members(list)
        case ("members", 2): self = .member(list, rest[1])
        case ("members", 3) where rest[2] == "activity": self = .activity(list, rest[1])
        case ("members", 3) where rest[2] == "tags": self = .memberTags(list, rest[1])
        case ("members", 4) where rest[2] == "actions" && rest[3] == "delete-permanent":
            self = .deletePermanent(list, rest[1])
        case ("tag-search", 1): self = .tagSearch(list)
        case ("segments", 1): self = .segments(list)
        case ("segments", 2...4):
            guard let id = Int(rest[1]), rest.count == 2 || rest[2] == "members" else { return nil }
            self =
                switch rest.count {
                case 2: .segment(list, id)
                case 3: .segmentMembers(list, id)
                default: .segmentMember(list, id, rest[3])
                }
        case ("interest-categories", 1): self = .categories(list)
        case ("interest-categories", 2): self = .category(list, rest[1])
        case ("interest-categories", 3) where rest[2] == "interests": self = .interests(list, rest[1])
        case ("interest-categories", 4) where rest[2] == "interests": self = .interest(list, rest[1], rest[3])
        case ("merge-fields", 1): self = .mergeFields(list)
        case ("merge-fields", 2):
            guard let id = Int(rest[1]) else { return nil }
            self = .mergeField(list, id)
        case ("webhooks", 1): self = .webhooks(list)
        case ("webhooks", 2): self = .webhook(list, rest[1])
        default: return nil
        }
    }

    /// The path with placeholders, by which calls are counted.
    var template: String {
        switch self {
        case .root: "/"
        case .ping: "/ping"
        case .batches: "/batches"
        case .batch: "/batches/{batch}"
        case .lists: "/lists"
        case .list: "/lists/{list}"
        case .members: "/lists/{list}/members"
        case .member: "/lists/{list}/members/{member}"
        case .activity: "/lists/{list}/members/{member}/activity"
        case .memberTags: "/lists/{list}/members/{member}/tags"
        case .tagSearch: "/lists/{list}/tag-search"
        case .segments: "/lists/{list}/segments"
        case .segment: "/lists/{list}/segments/{segment}"
        case .segmentMembers: "/lists/{list}/segments/{segment}/members"
        case .segmentMember: "/lists/{list}/segments/{segment}/members/{member}"
        case .deletePermanent: "/lists/{list}/members/{member}/actions/delete-permanent"
        case .categories: "/lists/{list}/interest-categories"
        case .category: "/lists/{list}/interest-categories/{category}"
        case .interests: "/lists/{list}/interest-categories/{category}/interests"
        case .interest: "/lists/{list}/interest-categories/{category}/interests/{interest}"
        case .mergeFields: "/lists/{list}/merge-fields"
        case .mergeField: "/lists/{list}/merge-fields/{field}"
        case .webhooks: "/lists/{list}/webhooks"
        case .webhook: "/lists/{list}/webhooks/{webhook}"
        }
    }

    var methods: [String] {
        switch self {
        case .root, .ping, .activity, .tagSearch: ["GET"]
        case .lists, .batches: ["GET", "POST"]
        case .batch: ["GET", "DELETE"]
        case .list: ["GET", "POST", "PATCH", "DELETE"]
        case .members, .memberTags, .mergeFields, .segments, .segmentMembers, .webhooks: ["GET", "POST"]
        case .categories, .interests: ["GET", "POST"]
        case .category, .interest, .mergeField: ["GET", "PATCH", "DELETE"]
        case .segment: ["GET", "POST", "PATCH", "DELETE"]
        case .segmentMember: ["DELETE"]
        case .member: ["GET", "PUT", "PATCH", "DELETE"]
        case .deletePermanent: ["POST"]
        case .webhook: ["GET", "PATCH", "DELETE"]
        }
    }

    /// The list and the reference of the member that the path names.
    var subject: (list: String?, member: String?) {
        switch self {
        case .root, .ping, .lists, .batches, .batch: (nil, nil)
        case .list(let list), .members(let list), .mergeFields(let list), .webhooks(let list): (list, nil)
        case .tagSearch(let list), .segments(let list): (list, nil)
        case .mergeField(let list, _), .webhook(let list, _), .segment(let list, _): (list, nil)
        case .categories(let list), .category(let list, _), .interests(let list, _), .interest(let list, _, _):
            (list, nil)
        case .segmentMembers(let list, _): (list, nil)
        case .segmentMember(let list, _, let member), .memberTags(let list, let member): (list, member)
        case .member(let list, let member), .activity(let list, let member), .deletePermanent(let list, let member):
            (list, member)
        }
    }
}
