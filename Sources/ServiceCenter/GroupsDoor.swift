import FoundationEssentials
import Hummingbird
import Postgres
import TargetGroups

/// `/api/v1/groups`: the target groups, who is in them, and what is decided by hand.
struct GroupsDoor: Sendable {
    static let most: Int64 = 1_000

    let groups: Groups
    let rules: Rules
    let checks: GroupChecks
    let memberships: Memberships
    let gate: Gate

    init(pool: Pool, gate: Gate) {
        groups = Groups(pool: pool)
        rules = Rules(pool: pool)
        checks = GroupChecks(pool: pool)
        memberships = Memberships(pool: pool)
        self.gate = gate
    }

    func add(to router: Router<BasicRequestContext>) {
        router.get("/api/v1/groups") { request, _ in
            try await gate.admit(request, to: .groups)
            return try await list(try Fields(queryOf: request, known: ["after", "limit"]))
        }
        router.post("/api/v1/groups") { request, _ in
            try await gate.admit(request, to: .groups)
            let name = try await Fields(bodyOf: request, known: ["name"]).required("name", "name the new group")
            let made = try await refused { try await groups.create(name) }
            return Response(try JSONText(encoding: Told(made)), status: .created)
        }
        router.get("/api/v1/groups/:name") { request, context in
            try await gate.admit(request, to: .groups)
            return try await show(try await group(in: context))
        }
        router.get("/api/v1/groups/:name/members") { request, context in
            try await gate.rights(of: request, with: .groups, .disclose)
            return try await members(
                try await group(in: context), try Fields(queryOf: request, known: ["status", "after", "limit"]))
        }
        router.put("/api/v1/groups/:name/members/:source/:id") { request, context in
            let actor = try await gate.actor(of: request, with: .groups)
            let fields = try await Fields(bodyOf: request, known: ["override"])
            return try await decide(try await group(in: context), context, fields, actor: actor)
        }
        router.post("/api/v1/groups/:name/members/:source/:id/readmit") { request, context in
            let actor = try await gate.actor(of: request, with: .groups)
            _ = try await Fields(bodyOf: request, known: [])
            let (source, id) = person(in: context)
            let group = try await group(in: context)
            try await refused {
                try await memberships.readmit(source: source, id: id, group: group.name, actor: actor)
            }
            return Response(status: .noContent)
        }
        router.post("/api/v1/groups/:name/check") { request, context in
            try await gate.admit(request, to: .groups)
            _ = try await Fields(bodyOf: request, known: [])
            let group = try await group(in: context)
            return Response(try JSONText(encoding: try await refused { try await checks.check(group: group.id) }))
        }
    }

    private func group(in context: BasicRequestContext) async throws -> TargetGroup {
        try await refused { try await groups.require(decoded("name", in: context)) }
    }

    private func list(_ fields: Fields) async throws -> Response {
        let most = try fields.integer("limit", in: 1...Self.most) ?? 100
        let after = try fields.text("after")
        let page = try await refused { try await groups.list(after: after, limit: Int(most)) }
        return try .page("groups", of: page.map(Told.init), next: page.count == Int(most) ? page.last?.name : nil)
    }

    private func show(_ group: TargetGroup) async throws -> Response {
        var told = Told(group)
        try await refused {
            told.rules = try await rules.list(group: group.id).rules
            told.check = try await checks.last(group: group.id)
        }
        return Response(try JSONText(encoding: told))
    }

    private func members(_ group: TargetGroup, _ fields: Fields) async throws -> Response {
        let most = try fields.integer("limit", in: 1...Self.most) ?? 100
        let status = try fields.choice("status", of: Membership.Status.self)
        let after = try fields.text("after").map { text in
            guard let cursor = MembershipPage.Cursor(text) else {
                throw Problem(.unprocessableContent, "must be the next of the page before", field: "after")
            }
            return cursor
        }
        let page = try await refused {
            try await memberships.list(group: group.id, status: status, after: after, limit: Int(most))
        }
        return try .page("members", of: page.memberships.map(Member.init), next: page.next?.description)
    }

    private func decide(
        _ group: TargetGroup, _ context: BasicRequestContext, _ fields: Fields, actor: String
    ) async throws -> Response {
        guard let override = try fields.choice("override", of: Override.self) else {
            throw Problem(.unprocessableContent, "is missing: include, exclude or none", field: "override")
        }
        let (source, id) = person(in: context)
        try await refused {
            try await memberships.setOverride(override, source: source, id: id, group: group.id, actor: actor)
        }
        return Response(status: .noContent)
    }

    /// A group as it is shown.
    private struct Told: Encodable {
        var name: String
        var linked: Bool
        var email_kind: String?
        var valid: Bool
        var rules_version: Int
        var active: Int64
        var inactive: Int64
        var rules: [[Criterion]]?
        var check: GroupCheck?

        init(_ group: TargetGroup) {
            name = group.name
            linked = group.isLinked
            email_kind = group.emailKind
            valid = group.isValid
            rules_version = group.rulesVersion
            active = group.active
            inactive = group.inactive
        }
    }

    /// A membership as it is shown.
    private struct Member: Encodable {
        var source: String
        var id: String
        var first_name: String
        var last_name: String
        var address: String?
        var status: Membership.Status
        var via: Membership.Via?
        var reasons: [Reason]
        var override: Override
        var changed_at: Date

        init(_ membership: Membership) {
            source = membership.source
            id = membership.externalID
            first_name = membership.firstName
            last_name = membership.lastName
            address = membership.address
            status = membership.status
            via = membership.via
            reasons = membership.reasons
            override = membership.override
            changed_at = membership.changedAt
        }
    }
}
