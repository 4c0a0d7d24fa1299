import Postgres
import TargetGroups
import TestSupport
import Testing

@Suite("Merging persons")
struct MergePersonsTests {
    private static let one = Identity(source: "crm", id: "1")
    private static let two = Identity(source: "hr", id: "2")

    /// Puts the second record, which comes from another system.
    private func putOther(_ fields: String, in world: World) async throws -> Int64 {
        let person = JSONText(#"{"source": "hr", "id": "2", \#(fields)}"#)
        return try await world.pool.query("select koppeling.put_person(\(person)::jsonb)").scalar()
    }

    @Test("fills the survivor's gaps, unites the lists, keeps every address, and leaves a pointer", .database)
    func facts() async throws {
        let world = World()
        try await world.persons.put(
            """
            [{"source": "crm", "id": "1", "given_name": "Anna", "family_name": "Berg", "gender": "v",
              "emails": {"zakelijk": "anna@werk.nl", "privé": "anna@thuis.nl"}, "categories": ["A / B"],
              "positions": [{"function": "Manager"}]},
             {"source": "hr", "id": "2", "given_name": "An", "initials": "A.", "prefixes": "van der", "gender": "x",
              "family_name": "Jansen",
              "emails": {"zakelijk": "an@hr.nl", "privé": "Anna@Thuis.nl", "nieuws": "anna@werk.nl"},
              "categories": ["A / B", "A / C"], "positions": [{"function": "manager"}, {"department": "HR"}]}]
            """)
        try await world.persons.merge(Self.two, into: Self.one, actor: "test")
        let person = try #require(try await world.persons.find(source: "HR", id: "2"))
        #expect(person.externalID == "1" && person.givenName == "Anna" && person.initials == "A.")
        #expect(person.prefixes == nil && person.familyName == "Berg" && person.gender == "female")
        #expect(
            person.emails == [
                "zakelijk": "anna@werk.nl", "privé": "anna@thuis.nl", "zakelijk 2": "an@hr.nl",
                "nieuws": "anna@werk.nl",
            ])
        #expect(person.categories == ["A / B", "A / C"] && person.positions.count == 2)
        let other = try await world.pool.query(
            """
            select p.state = 'archived' and p.merged_into is not null
                and not exists (select from koppeling.email_address e where e.person_id = p.id)
                and not exists (select from koppeling.person_category c where c.person_id = p.id)
                and not exists (select from koppeling.position o where o.person_id = p.id)
            from koppeling.person p where p.source = 'hr'
            """)
        #expect(try other.scalar(as: Bool.self))
    }

    @Test("lets the other identity mean the survivor: puts, also of both at once, and a second merge", .database)
    func pointer() async throws {
        let world = World()
        try await world.put("1", name: "Berg")
        _ = try await putOther(#""family_name": "Dal""#, in: world)
        try await world.persons.merge(Self.two, into: Self.one, actor: "test")
        try await world.persons.merge(Self.two, into: Self.one, actor: "test")
        _ = try await putOther(#""given_name": "Anna""#, in: world)
        try await world.persons.put(
            #"[{"source": "crm", "id": "1", "initials": "A."}, {"source": "hr", "id": "2", "initials": "B."}]"#)
        let person = try #require(try await world.persons.find(source: "crm", id: "1"))
        #expect(person.givenName == "Anna" && person.initials == "B." && person.familyName == "Berg")

        try await world.put("3")
        try await world.persons.merge(Self.one, into: Identity(source: "crm", id: "3"), actor: "test")
        #expect(try await world.persons.find(source: "hr", id: "2")?.externalID == "3", "never a chain")
        let active = try await world.pool.query("select count(*) from koppeling.person where state = 'active'")
        #expect(try active.scalar(as: Int64.self) == 1)
        let error = await #expect(throws: TargetGroupsError.self) {
            try await world.persons.merge(Self.two, into: Identity(source: "HR", id: "2"), actor: "test")
        }
        #expect(error?.code == .badInput)
    }

    @Test("keeps of two decisions and of what was said the stricter", .database)
    func consent() async throws {
        let world = World()
        let strictness = ["none", "include", "exclude"]
        let said: [Set<String>] = [[], ["unsubscribed"], ["complained", "removedInMailchimp"]]
        var cases: [(facts: [Facts], persons: [Int64])] = []
        let group = try await world.group()
        for first in strictness {
            for second in strictness {
                for (own, others) in [(0, 0), (0, 1), (1, 2), (2, 0)] {
                    var facts = [Facts(override: first, open: said[own]), Facts(override: second, open: said[others])]
                    var persons: [Int64] = []
                    for index in facts.indices {
                        let id = "\(cases.count)-\(index)"
                        facts[index].ruleMatch = (cases.count + index).isMultiple(of: 3)
                        persons.append(
                            try await world.put(
                                id, email: "p\(id)@x.nl",
                                categories: facts[index].ruleMatch ? ["Mailingen / Nieuwsbrief"] : []))
                    }
                    cases.append((facts, persons))
                }
            }
        }
        try await world.evaluate()
        for (facts, persons) in cases {
            for (facts, person) in zip(facts, persons) {
                let choice = try #require(Override(rawValue: facts.override))
                try await world.memberships.setOverride(choice, person: person, group: group, actor: "test")
                for reason in facts.open.sorted() {
                    try await world.found(reason, at: nil, claimants: [person], group: group)
                }
            }
        }
        for (index, (facts, persons)) in cases.enumerated() {
            try await world.persons.merge(
                Identity(source: "crm", id: "\(index)-1"), into: Identity(source: "crm", id: "\(index)-0"),
                actor: "test")
            var merged = Facts(ruleMatch: facts.contains { $0.ruleMatch }, open: facts[0].open.union(facts[1].open))
            merged.override = strictness.last { choice in facts.contains { $0.override == choice } } ?? "none"
            merged.everMember = facts.contains {
                $0.override == "include" || $0.override == "none" && $0.ruleMatch || $0.ruleMatch
            }
            let before = try await world.membership(persons[0], group)
            #expect(before == verdict(on: merged), "\(facts)")
            if let other = try await world.membership(persons[1], group) {
                #expect(other.reasons.first == "archived")
            }
            try await world.evaluate()
            #expect(try await world.membership(persons[0], group) == before, "evaluated later: \(facts)")
        }
    }

    @Test("never lets a no be dodged: said at the other's address, then at neither's", .database)
    func noDodging() async throws {
        let world = World()
        let group = try await world.group()
        let survivor = try await world.put("1", email: "one@x.nl", categories: ["Mailingen / Nieuwsbrief"])
        let other = try await putOther(#""emails": {"zakelijk": "two@x.nl"}"#, in: world)
        try await world.evaluate()
        try await world.persons.merge(Self.two, into: Self.one, actor: "test")
        #expect(try await world.membership(survivor, group) == .byRule)
        try await world.found("unsubscribed", at: "two@x.nl", group: group)
        #expect(try await world.membership(survivor, group) == .inactive("unsubscribed"))
        _ = try await putOther(#""emails": {"zakelijk": "three@x.nl", "zakelijk 2": null}"#, in: world)
        try await world.evaluate()
        #expect(try await world.membership(survivor, group) == .inactive("unsubscribed"))
        #expect(try await world.membership(other, group) == nil)
    }

    @Test("lets an erasure of the survivor erase the other record too", .database)
    func erased() async throws {
        let world = World()
        let survivor = try await world.put("1", email: "one@x.nl", name: "Berg")
        _ = try await putOther(#""family_name": "Dal", "emails": {"zakelijk": "two@x.nl"}"#, in: world)
        try await world.persons.merge(Self.two, into: Self.one, actor: "test")
        try await world.pool.query(
            "select koppeling.erase_person_now(\(survivor)::bigint, sha256('key'), 'test')")
        let left = try await world.pool.query(
            """
            select (select count(*) from koppeling.person where state <> 'erased' or source <> '(erased)')
                + (select count(*) from koppeling.email_address)
                + (select count(*) from koppeling.audit_entry a where a::text like '%Dal%' or a::text like '%x.nl%')
            """)
        #expect(try left.scalar(as: Int64.self) == 0)
    }

    @Test("loses no erasure that was asked for before: the survivor is erased", .database)
    func erasureAskedForBefore() async throws {
        let world = World()
        let group = try await world.group()
        let survivor = try await world.put("1", email: .some(nil), categories: ["Mailingen / Nieuwsbrief"])
        _ = try await putOther(#""family_name": "Dal", "emails": {"zakelijk": "two@x.nl"}"#, in: world)
        try await world.evaluate()
        try await world.pool.query("select koppeling.erase_person('hr', '2')")
        try await world.persons.merge(Self.two, into: Self.one, actor: "test")
        let erasure: Int64 = try await world.pool.query(
            """
            select koppeling.erase_person_now((j.args ->> 'person')::bigint, sha256('key'), j.args ->> 'actor')
            from koppeling.job j where j.kind = 'person.erase'
            """
        ).scalar()
        #expect(try await world.membership(survivor, group) == .inactive("erased"))
        let left = try await world.pool.query(
            """
            select (select count(*) from koppeling.email_address)
                + (select count(*) from koppeling.person p where p.state <> 'erased' or p.source <> '(erased)')
            """)
        #expect(try left.scalar(as: Int64.self) == 0)
        let reported: Int64 = try await world.pool.query(
            "select person_id from koppeling.erasures where id = \(erasure)::bigint"
        ).scalar()
        #expect(reported == survivor)
    }

    @Test(
        "takes along what is decided meanwhile on the other record: it holds for the survivor in every group",
        .database, arguments: ["unsubscribed", "archived", "manual"])
    func decidedMeanwhile(reason: String) async throws {
        let world = World()
        let groups = [try await world.group("Een"), try await world.group("Twee")]
        let survivor = try await world.put("1", email: "one@x.nl", categories: ["Mailingen / Nieuwsbrief"])
        let other = try await putOther(#""categories": ["Mailingen / Nieuwsbrief"]"#, in: world)
        try await world.evaluate()
        try await world.pool.withConnection { first in
            try await first.query("begin")
            try await first.query("select koppeling.merge_persons('crm', '1', 'hr', '2')")
            async let decided: Void = {
                switch reason {
                case "unsubscribed": try await world.persons.unsubscribe(source: "hr", id: "2", actor: "piet")
                case "archived": try await world.persons.archive(source: "hr", id: "2", actor: "piet")
                default:
                    for group in groups {
                        try await world.memberships.setOverride(.exclude, person: other, group: group, actor: "piet")
                    }
                }
            }()
            try await first.waitUntilWaitedFor()
            try await first.query("commit")
            try await decided
        }
        try await world.evaluate()
        for group in groups { #expect(try await world.membership(survivor, group) == .inactive(reason)) }
    }

    @Test("beside puts of both identities leaves nothing at the other record", .database)
    func racing() async throws {
        let world = World()
        for round in 0..<6 {
            try await world.put("a\(round)", email: "a\(round)@x.nl")
            try await world.put("b\(round)", email: "b\(round)@x.nl")
        }
        try await withThrowingTaskGroup(of: Void.self) { tasks in
            for session in 0..<2 {
                tasks.addTask {
                    for round in 0..<6 {
                        for id in session == 0 ? ["a\(round)", "b\(round)"] : ["b\(round)", "a\(round)"] {
                            try await retrying {
                                try await world.put(id, email: "n\(session)\(id)@x.nl", categories: ["A / \(session)"])
                            }
                        }
                    }
                }
            }
            tasks.addTask {
                for round in 0..<6 {
                    try await retrying {
                        try await world.persons.merge(
                            Identity(source: "crm", id: "b\(round)"), into: Identity(source: "crm", id: "a\(round)"),
                            actor: "test")
                    }
                }
            }
            try await tasks.waitForAll()
        }
        let left = try await world.pool.query(
            """
            select count(*) from koppeling.person p
            where (p.merged_into is null) <> (p.external_id like 'a%')
                or p.merged_into is not null and (
                    exists (select from koppeling.email_address e where e.person_id = p.id)
                    or exists (select from koppeling.person_category c where c.person_id = p.id))
            """)
        #expect(try left.scalar(as: Int64.self) == 0)
    }

    /// Again when the database asks for it.
    private func retrying(_ body: () async throws -> Void) async throws {
        while true {
            do {
                return try await body()
            } catch let error as TargetGroupsError where error.isRetryable {
                continue
            } catch let error as PostgresError where error.isRetryable {
                continue
            }
        }
    }
}
