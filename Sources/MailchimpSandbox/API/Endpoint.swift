/// A resource of the Marketing API, as its path names it.
enum Endpoint: Sendable, Equatable {
    case root
    case ping
    case lists
    case list(String)
    case members(String)
    case member(String, String)
    case activity(String, String)
    case deletePermanent(String, String)
    case mergeFields(String)
    case mergeField(String, Int)
    case webhooks(String)
    case webhook(String, String)

    init?(_ segments: [String]) {
        guard segments.first != "ping" else {
            guard segments.count == 1 else { return nil }
            self = .ping
            return
        }
        guard !segments.isEmpty else {
            self = .root
            return
        }
        guard segments[0] == "lists" else { return nil }
        switch segments.count {
        case 1: self = .lists
        case 2: self = .list(segments[1])
        default: self.init(list: segments[1], rest: Array(segments[2...]))
        }
    }

    private init?(list: String, rest: [String]) {
        switch (rest[0], rest.count) {
        case ("members", 1): self = .members(list)
        case ("members", 2): self = .member(list, rest[1])
        case ("members", 3) where rest[2] == "activity": self = .activity(list, rest[1])
        case ("members", 4) where rest[2] == "actions" && rest[3] == "delete-permanent":
            self = .deletePermanent(list, rest[1])
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
        case .lists: "/lists"
        case .list: "/lists/{list}"
        case .members: "/lists/{list}/members"
        case .member: "/lists/{list}/members/{member}"
        case .activity: "/lists/{list}/members/{member}/activity"
        case .deletePermanent: "/lists/{list}/members/{member}/actions/delete-permanent"
        case .mergeFields: "/lists/{list}/merge-fields"
        case .mergeField: "/lists/{list}/merge-fields/{field}"
        case .webhooks: "/lists/{list}/webhooks"
        case .webhook: "/lists/{list}/webhooks/{webhook}"
        }
    }

    var methods: [String] {
        switch self {
        case .root, .ping, .lists, .activity, .mergeField: ["GET"]
        case .list: ["GET", "POST"]
        case .members, .mergeFields, .webhooks: ["GET", "POST"]
        case .member: ["GET", "PUT", "PATCH", "DELETE"]
        case .deletePermanent: ["POST"]
        case .webhook: ["GET", "DELETE"]
        }
    }

    /// The list and the reference of the member that the path names.
    var subject: (list: String?, member: String?) {
        switch self {
        case .root, .ping, .lists: (nil, nil)
        case .list(let list), .members(let list), .mergeFields(let list), .webhooks(let list): (list, nil)
        case .mergeField(let list, _), .webhook(let list, _): (list, nil)
        case .member(let list, let member), .activity(let list, let member), .deletePermanent(let list, let member):
            (list, member)
        }
    }
}
