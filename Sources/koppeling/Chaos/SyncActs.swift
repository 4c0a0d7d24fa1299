import Postgres

/// What people do while a run lasts: users and other systems here, contacts and admins in Mailchimp.
struct SyncActs: Sendable {
    let world: StandInWorld
    let door: SandboxDoor
    let clock: SyncClock
    let group: Int64

    /// One act by chance.
    func act(_ scene: inout SyncScene, _ random: inout SplitMix) async throws {
        let name: String
        switch Int.random(in: 0..<100, using: &random) {
        case 0..<45: name = try await edit(&scene, &random)
        case 45..<53: name = try await decide(&scene, &random)
        case 53..<58: name = try await archiveOrReactivate(&scene, &random)
        case 58..<61: name = try await changeRules(&scene, &random)
        case 61..<64: name = try await recordNo(&scene, &random)
        case 64..<66: name = try await invite(&scene, &random)
        case 66..<71: name = try await race(&scene, &random)
        default: name = try await inMailchimp(scene, &random)
        }
        scene.acts[name, default: 0] += 1
    }

    /// Puts everybody, and one person with every category, so that all of them are known.
    func begin(_ scene: SyncScene) async throws {
        var first = scene.persons[0]
        first.categories = Set(SyncScene.categories.indices)
        try await put(first)
        for person in scene.persons { try await put(person) }
        try await save(scene.rules)
    }

    private func send(_ query: Query) async throws {
        try await again { _ = try await world.pool.query(query) }
    }

    /// Whoever meets a deadlock tries again, as any client of a database does.
    private func again(_ body: () async throws -> Void) async throws {
        for _ in 0..<5 {
            do {
                return try await body()
            } catch let error as PostgresError {
                guard error.isRetryable else { throw error }
            }
        }
        try await body()
    }

    private func put(_ person: SyncScene.Person, loud: Bool = false) async throws {
        try await send(Self.put(person, loud: loud))
    }

    private static func put(_ person: SyncScene.Person, loud: Bool = false) -> Query {
        let address = person.address.map { loud ? $0.uppercased() : $0 }
        let categories = person.categories.sorted().map { SyncScene.categories[$0] }
        return """
            select koppeling.put_person(jsonb_build_object('source', 'chaos', 'id', \(person.id)::text,
                'given_name', \(person.givenName)::text, 'family_name', \(person.familyName)::text,
                'emails', jsonb_build_object('zakelijk', \(address)::text),
                'categories', to_jsonb(\(categories)::text[])))
            """
    }

    /// Another name, other categories or another address, from another system.
    private func edit(_ scene: inout SyncScene, _ random: inout SplitMix) async throws -> String {
        let place = Int.random(in: scene.persons.indices, using: &random)
        let what: String
        switch Int.random(in: 0..<10, using: &random) {
        case 0..<3:
            what = "name changed"
            scene.persons[place].familyName = "Berg \(Int.random(in: 0..<1_000_000, using: &random))"
        case 3..<8:
            what = "categories changed"
            let category = Int.random(in: SyncScene.categories.indices, using: &random)
            if scene.persons[place].categories.remove(category) == nil {
                scene.persons[place].categories.insert(category)
            }
        default:
            what = "address changed"
            let family = scene.persons[place].family
            scene.persons[place].address =
                switch Int.random(in: 0..<8, using: &random) {
                case 0: nil
                case 1, 2: scene.newAddress(family)
                default: scene.addresses[family].randomElement(using: &random)
                }
        }
        try await put(scene.persons[place], loud: random.chance(0.1))
        return what
    }

    /// Adds by hand, removes by hand, or leaves it to the rules again.
    private func decide(_ scene: inout SyncScene, _ random: inout SplitMix) async throws -> String {
        let place = Int.random(in: scene.persons.indices, using: &random)
        let override = ["include", "exclude", "none", "none"].randomElement(using: &random) ?? "none"
        if scene.persons[place].isArchived, override == "include" { return "nothing" }
        try await send(
            """
            select koppeling.set_override(\(group)::bigint,
                koppeling.find_person('chaos', \(scene.persons[place].id)), \(override)::text, 'chaos')
            """)
        scene.persons[place].override = override
        return "decided by hand"
    }

    private func archiveOrReactivate(_ scene: inout SyncScene, _ random: inout SplitMix) async throws -> String {
        let place = Int.random(in: scene.persons.indices, using: &random)
        let id = scene.persons[place].id
        if scene.persons[place].isArchived {
            try await send("select koppeling.reactivate_person('chaos', \(id))")
            scene.persons[place].isArchived = false
            return "person made active again"
        }
        try await send("select koppeling.archive_person('chaos', \(id))")
        scene.persons[place].isArchived = true
        if scene.persons[place].override == "include" { scene.persons[place].override = "none" }
        return "person archived"
    }

    private func changeRules(_ scene: inout SyncScene, _ random: inout SplitMix) async throws -> String {
        let count = Int.random(in: 1...3, using: &random)
        let rules = (0..<count).map { number in
            let wanted = number == 0 ? 0 : Int.random(in: SyncScene.categories.indices, using: &random)
            var rule = [SyncScene.Criterion(category: wanted, isNegated: false)]
            let other = Int.random(in: SyncScene.categories.indices, using: &random)
            if other != wanted, random.chance(0.5) {
                rule.append(SyncScene.Criterion(category: other, isNegated: random.chance(0.5)))
            }
            return rule
        }
        try await save(rules)
        scene.rules = rules
        return "rules changed"
    }

    private func save(_ rules: [[SyncScene.Criterion]]) async throws {
        struct Criterion: Encodable {
            var value: String
            var negated: Bool
        }
        let list = rules.map { $0.map { Criterion(value: SyncScene.categories[$0.category], negated: $0.isNegated) } }
        try await send(
            """
            select koppeling.save_rules(g.id, g.rules_version, \(try JSONText(encoding: list))::jsonb, true, 'chaos')
            from koppeling.target_group g where g.id = \(group)::bigint
            """)
    }

    /// A user records that a person said no.
    private func recordNo(_ scene: inout SyncScene, _ random: inout SplitMix) async throws -> String {
        let places = scene.persons.indices.filter { SyncScene.isNoisy(scene.persons[$0].family) }
        guard let place = places.randomElement(using: &random) else { return "nothing" }
        try await send("select koppeling.unsubscribe_person('chaos', \(scene.persons[place].id))")
        if scene.persons[place].no == nil {
            scene.persons[place].no = (scene.persons[place].address, clock.second)
        }
        return "no recorded by a user"
    }

    /// A user records that a person who said no asks to be invited again.
    private func invite(_ scene: inout SyncScene, _ random: inout SplitMix) async throws -> String {
        let places = scene.persons.indices.filter { SyncScene.isNoisy(scene.persons[$0].family) }
        guard let place = places.randomElement(using: &random) else { return "nothing" }
        do {
            try await send("select koppeling.invite_person('chaos', \(scene.persons[place].id))")
        } catch let error as PostgresError where error.sqlState == "23001" {
            return "nothing"
        }
        scene.persons[place].isInvited = true
        return "invited"
    }

    /// Persons come to addresses, or come back to them, at the moment at which the contacts there say no, perhaps beneath
    /// an archive.
    private func race(_ scene: inout SyncScene, _ random: inout SplitMix) async throws -> String {
        let family = Int.random(in: 0..<scene.families / 2, using: &random) * 2 + 1
        let isNew = random.chance(0.6)
        var acts = [random.chance(0.7) ? "contact/unsubscribe" : "contact/complain"]
        if isNew { acts.insert("contact/resubscribe", at: 0) }
        if random.chance(0.8) { acts.append("admin/archive") }
        // Some before, some after, so that the calls meet every state.
        let before = random.chance(0.6) ? acts.count : Int.random(in: 0...acts.count, using: &random)
        var coming: [(place: Int, address: String)] = []
        for place in scene.persons.indices.shuffled(using: &random)
        where scene.persons[place].family == family && !scene.persons[place].isArchived && coming.count < 3 {
            guard let old = scene.addresses[family].randomElement(using: &random) else { continue }
            coming.append((place, isNew ? scene.newAddress(family) : old))
        }
        for act in acts[..<before] { for one in coming { await inMailchimp(act, one.address) } }
        for one in coming {
            scene.persons[one.place].address = one.address
            scene.persons[one.place].categories = Set(SyncScene.categories.indices)
        }
        let together = coming.map { scene.persons[$0.place] }
        try await again {
            try await world.pool.transaction { connection in
                for person in together { try await connection.query(Self.put(person)) }
            }
        }
        for act in acts[before...] {
            try await Task.sleep(for: .milliseconds(Int.random(in: 0...150, using: &random)))
            for one in coming { await inMailchimp(act, one.address) }
        }
        return isNew ? "no raced at new addresses" : "no raced at old addresses"
    }

    /// Whether it could be done: not everything can be done to everybody.
    @discardableResult
    private func inMailchimp(_ act: String, _ address: String, to other: String? = nil) async -> Bool {
        let body = #"{"email_address": "\#(other ?? address)"}"#
        let path = act == "import" ? "contacts" : "members/\(address)/\(act)"
        return (try? await door.send("POST", "lists/\(door.list)/\(path)", body)) != nil
    }

    /// Something that a contact of a noisy family, a stranger or an admin does in Mailchimp.
    private func inMailchimp(_ scene: SyncScene, _ random: inout SplitMix) async throws -> String {
        let family = Int.random(in: 0...scene.families / 2, using: &random) * 2 + 1
        guard let address = scene.addresses[family].randomElement(using: &random) else { return "nothing" }
        let acts = [
            "contact/resubscribe", "contact/resubscribe", "contact/resubscribe", "contact/unsubscribe",
            "contact/unsubscribe", "contact/unsubscribe", "contact/complain", "contact/change-address", "admin/archive",
            "admin/archive", "admin/archive", "admin/clean", "admin/delete", "admin/subscribe", "admin/unarchive",
            "import", "import",
        ]
        guard let act = acts.randomElement(using: &random) else { return "nothing" }
        var other: String?
        if act == "contact/change-address" {
            other =
                random.chance(0.3)
                ? "elders\(Int.random(in: 0..<100_000, using: &random))@post.koppeling.test"
                : scene.addresses[family].randomElement(using: &random)
        }
        return await inMailchimp(act, address, to: other) ? act : "nothing"
    }
}
