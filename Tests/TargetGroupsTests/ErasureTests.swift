import FoundationEssentials
import Postgres
import TargetGroups
import TestSupport
import Testing

@Suite("An erased person", .database)
struct ErasureTests {
    private let newsletter = ["Mailingen / Nieuwsbrief"]
    private static let key = [UInt8](repeating: 7, count: 32)

    /// Erases by the person's number; returns the number of the erasure.
    private func erase(_ person: Int64, in world: World) async throws -> Int64 {
        try await world.pool.query(
            "select koppeling.erase_person_now(\(person)::bigint, \(Self.key)::bytea, 'piet')"
        ).scalar()
    }

    /// Holds whoever came in against the ledger, as a worker does, and evaluates.
    private func settle(_ world: World) async throws {
        while try await world.pool.query("select koppeling.check_erasures(\(Self.key)::bytea, 100)")
            .scalar(as: Int64.self) > 0
        {}
        try await world.evaluate()
    }

    private func traces(_ texts: [String], in world: World) async throws -> [String] {
        let rows = try await world.pool.query("select relation from koppeling.find_traces(\(texts)::text[])")
        return try rows.map { try $0.decode("relation") }
    }

    @Test("is a keyed hash: HMAC-SHA-256 as its standard has it")
    func hash() async throws {
        let hash = try await World().pool.query(
            """
            select encode(koppeling.keyed_hash(inner_pad, outer_pad, 'Hi There'), 'hex')
            from koppeling.hash_pads(decode(repeat('0b', 20), 'hex'))
            """
        ).scalar(as: String.self)
        #expect(hash == "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7")
    }

    @Test("leaves no trace in any table: not in jobs, history, ledger or audit")
    func traceless() async throws {
        let world = World()
        let group = try await world.group()
        let person = try await world.put(
            "dossier-77", email: "Wilhelmina.Zeldzaam@example.nl", categories: newsletter, name: "Zeldzaam")
        try await world.evaluate()
        try await world.memberships.setOverride(.include, person: person, group: group, actor: "piet")
        try await world.found(
            "unsubscribed", at: "wilhelmina.zeldzaam@example.nl", contact: "contact-zeldzaam", claimants: [person],
            group: group)
        let job = JSONText(
            #"[{"source": "CRM", "id": "dossier-77", "family_name": "Zeldzaam"}, {"source": "crm", "id": "78"}]"#)
        try await world.pool.query("select koppeling.enqueue('persons.put', \(job)::jsonb)")
        try await world.pool.query(
            """
            insert into koppeling.job_history (id, enqueued_at, run_at, finished_at, priority, attempt, max_attempts,
                claim, snoozes, outcome, queue, kind, key_mode, reason, args)
            select 900001, n, n, n, 0, 1, 20, 1, 0, 'rejected', 'default', 'persons.put', 'keep',
                'Wilhelmina.Zeldzaam@example.nl is no address',
                '{"source": "crm", "id": "x", "emails": {"privé": "wilhelmina.zeldzaam@EXAMPLE.nl"}}'
            from koppeling.now() n
            """)
        let known = ["zeldzaam", "dossier-77"]
        try await #expect(traces(known, in: world).count >= 5)

        let erasure = try await erase(person, in: world)
        #expect(try await traces(known + ["contact-zeldzaam"], in: world) == [])
        #expect(try await world.membership(person, group) == .inactive("erased"))
        let left = try await world.pool.query("select args from koppeling.job where kind = 'persons.put'")
        #expect(try left.scalar(as: JSONText.self).decode([[String: String]].self) == [["source": "crm", "id": "78"]])
        struct Report: Decodable {
            var removed: [String: Int]
            var is_complete: Bool
        }
        let report = try await world.pool.query("select koppeling.erasure_report(\(erasure)::bigint)")
            .scalar(as: JSONText.self).decode(Report.self)
        #expect(report.is_complete)
        #expect(report.removed["addresses"] == 1)
        #expect(report.removed["jobs"] == 2)
        #expect(report.removed["suppressions"] == 3)
    }

    @Test("is erased once; a second time changes nothing")
    func twice() async throws {
        let world = World()
        let person = try await world.put("1", email: "jan@example.nl")
        let first = try await erase(person, in: world)
        #expect(try await erase(person, in: world) == first)
        let found = try await world.pool.query(
            "select koppeling.find_erasure(\(Self.key)::bytea, 'CRM', ' 1 ')"
        ).scalar(as: Int64?.self)
        #expect(found == first)
        await #expect(throws: TargetGroupsError.self) {
            try await world.persons.archive(source: "crm", id: "1", actor: "piet")
        }
    }

    @Test("does not come back by a put, which is counted; nothing follows from it before it is seen")
    func putAgain() async throws {
        let world = World()
        let group = try await world.group()
        let erasure = try await erase(
            try await world.put("1", email: "jan@example.nl", categories: newsletter), in: world)
        for name in ["Een", "Twee"] {
            let again = try await world.put("1", email: "ander@example.nl", categories: newsletter, name: name)
            // Before the check: the evaluation may come first.
            try await world.evaluate()
            try await settle(world)
            #expect(try await world.membership(again, group) == nil)
            #expect(try await world.persons.find(source: "crm", id: "1") == nil)
        }
        #expect(try await traces(["ander@example.nl"], in: world) == [])
        let skipped = try await world.pool.query(
            "select puts_skipped from koppeling.erasures where id = \(erasure)::bigint"
        ).scalar(as: Int64.self)
        #expect(skipped == 2)
        #expect(try await world.pool.query("select count(*) from koppeling.person").scalar(as: Int64.self) == 1)
    }

    @Test("had an address: whoever is given it is suppressed, whoever shared it keeps it")
    func givenAddress() async throws {
        let world = World()
        let group = try await world.group()
        let erased = try await world.put("1", email: "Jan@example.nl")
        _ = try await erase(erased, in: world)
        let heir = try await world.put("2", email: "jan@EXAMPLE.nl", categories: newsletter)
        try await settle(world)
        #expect(try await world.membership(heir, group) == .inactive("forgotten"))
        // The no is the person's: another address does not dodge it.
        try await world.put("2", email: "nieuw@example.nl")
        try await settle(world)
        #expect(try await world.membership(heir, group) == .inactive("forgotten"))

        let gone = try await world.put("3", email: "samen@example.nl", categories: newsletter)
        let stays = try await world.put("4", email: "samen@example.nl", categories: newsletter)
        try await settle(world)
        _ = try await erase(gone, in: world)
        let third = try await world.put("5", email: "samen@example.nl", categories: newsletter)
        try await settle(world)
        #expect(try await world.membership(stays, group) == .byRule)
        #expect(try await world.membership(third, group) == .byRule)
    }

    @Test("takes no no along that binds somebody else")
    func sharedNo() async throws {
        let world = World()
        let group = try await world.group()
        let gone = try await world.put("1", email: "samen@example.nl", categories: newsletter)
        let stays = try await world.put("2", email: "samen@example.nl", categories: newsletter)
        try await world.evaluate()
        try await world.found("unsubscribed", at: "samen@example.nl", contact: "c1", group: group)
        _ = try await erase(gone, in: world)
        try await world.put("2", email: "anders@example.nl")
        try await settle(world)
        #expect(try await world.membership(stays, group) == .inactive("unsubscribed"))
        let at = try await world.pool.query(
            "select count(*) from koppeling.open_suppression where address_key = 'samen@example.nl'")
        #expect(try at.scalar(as: Int64.self) == 1)
    }

    @Test("stays erased when a put of her was under way")
    func besideAPut() async throws {
        let world = World()
        let person = try await world.put("1", email: "jan@example.nl", name: "Berg")
        try await world.pool.transaction { connection in
            try await connection.query(
                "select koppeling.erase_person_now(\(person)::bigint, \(Self.key)::bytea, 'piet')")
            async let put: Int64 = world.put("1", email: "jan@example.nl", name: "Bergen")
            try await eventually {
                try await world.pool.query(
                    "select exists (select from pg_locks where not granted and locktype = 'transactionid')"
                ).scalar(as: Bool.self)
            }
            try await connection.query("commit")
            _ = try? await put
            try await connection.query("begin")
        }
        try await settle(world)
        #expect(try await traces(["bergen", "jan@example.nl"], in: world) == [])
    }

    private func anonymise(_ persons: String, in world: World) async throws {
        try await world.persons.put(JSONText(persons))
        let asked = try await world.pool.query(
            "select (args ->> 'person')::bigint from koppeling.job where kind = 'person.erase' order by id")
        for row in asked { _ = try await erase(try row.decode(0), in: world) }
        try await settle(world)
    }

    @Test("was anonymised in her administration: nothing of the put is stored, and put again she is counted")
    func anonymised() async throws {
        let world = World()
        let group = try await world.group()
        let person = try await world.put("1", email: "jan@example.nl", categories: newsletter, name: "Berg")
        let other = try await world.put("2", email: "piet@example.nl", categories: newsletter)
        try await world.evaluate()
        // The chance that was written over her need not even be faultless.
        let given = #"""
            [{"source": "crm", "id": "1", "anonymised": true, "family_name": "Xqzkw", "gender": 7,
              "emails": {"zakelijk": "xqzkw"}, "categories": ["Xqzkw"], "xqzkw": []},
             {"source": "crm", "id": "2", "anonymised": false, "family_name": "Dal"},
             {"source": "crm", "id": "3", "anonymised": true, "family_name": "Xqzkw"},
             {"source": "crm", "id": "3", "family_name": "Xqzkw"}]
            """#
        try await anonymise(given, in: world)
        #expect(try await world.membership(person, group) == .inactive("erased"))
        #expect(try await world.membership(other, group) == .byRule)
        #expect(try await world.persons.find(source: "crm", id: "2")?.familyName == "Dal")
        #expect(try await world.persons.find(source: "crm", id: "3") == nil)
        for _ in 1...2 { try await anonymise(given, in: world) }
        #expect(try await traces(["xqzkw", "jan@example.nl", "berg"], in: world) == [])
        #expect(try await world.pool.query("select count(*) from koppeling.person").scalar(as: Int64.self) == 2)
        let skipped = try await world.pool.query("select sum(puts_skipped)::bigint from koppeling.erasures")
        #expect(try skipped.scalar(as: Int64.self) == 2)
        #expect(
            try await world.pool.query("select count(*) from koppeling.anonymised_put").scalar(as: Int64.self) == 0)
        // One alone that is nobody's has no number.
        let nobody: Int64? = try await world.pool.query(
            #"select koppeling.put_person('{"source": "crm", "id": "9", "anonymised": true}')"#
        ).scalar()
        #expect(nobody == nil)
    }

    @Test("was anonymised beside her own first put: it is waited for")
    func anonymisedBesideTheFirstPut() async throws {
        let world = World()
        let pool = world.pool
        let put = #"{"source": "CRM", "id": "1", "family_name": "Berg", "emails": {"zakelijk": "jan@example.nl"}}"#
        try await pool.withConnection { first in
            try await first.query("begin")
            try await first.query("select koppeling.put_person(\(JSONText(put))::jsonb)")
            async let anonymised = pool.query(
                #"""
                select koppeling.put_persons(
                    '[{"source": "crm", "id": "1", "anonymised": true}, {"source": "crm", "id": "2", "anonymised": true}]')
                """#)
            try await first.waitUntilWaitedFor()
            try await first.query("commit")
            _ = try await anonymised
        }
        let erased: Int64 = try await pool.query(
            """
            select count(*) from koppeling.job j
            where j.kind = 'person.erase' and j.args -> 'person' = to_jsonb(koppeling.find_person('crm', '1'))
            """
        ).scalar()
        #expect(erased == 1)
        #expect(try await pool.query("select count(*) from koppeling.person").scalar(as: Int64.self) == 1)
    }

    @Test("was anonymised, which a column of a file can say")
    func anonymisedInAFile() async throws {
        let world = World()
        try await world.put("1", email: "jan@example.nl")
        try await world.put("2", email: "piet@example.nl")
        let file = try ImportFile(
            """
            bron,nummer,achternaam,e-mailadres zakelijk,geanonimiseerd
            crm,1,Xqzkw,geen adres,Ja
            crm,2,Dal,piet@example.nl,nee
            crm,3,Xqzkw,x@example.nl,1
            crm,4,Bos,bos@example.nl,

            """)
        let report = try await file.run()
        #expect(report.isImported && report.rows == 4 && report.anonymised == 2)
        #expect(report.created == 1 && report.changed == 1 && report.unchanged == 0)
        let jobs: Int64 = try await world.pool.query("select count(*) from koppeling.job where kind = 'person.erase'")
            .scalar()
        #expect(jobs == 1)
        #expect(try await world.persons.find(source: "crm", id: "1")?.familyName == nil)
        #expect(try await world.persons.find(source: "crm", id: "2")?.familyName == "Dal")
        #expect(try await world.persons.find(source: "crm", id: "3") == nil)
        #expect(try await traces(["xqzkw"], in: world) == [])

        let odd = try await ImportFile("source,id,anonymised\ncrm,1,misschien\n").run()
        #expect(odd.faults.map(\.description) == ["line 2, anonymised: must be yes or no (ja, nee)"])
    }
}
