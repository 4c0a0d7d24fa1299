import Postgres
import TargetGroups
import TestSupport
import Testing

@testable import Connector

/// What changes many at once without anybody meaning it: a wrong file, a stream of puts, a company's facts.
@Suite("Many changed at once", .database)
struct ManyChangedTests {
    /// How many plans there ever were.
    private func plans(_ list: LinkedList) async throws -> Int {
        try await list.pool.query("select count(*) from koppeling.change_plan").scalar()
    }

    @Test(
        "a file that empties a column is held, with its name; nothing is sent, and the right file dissolves the plan",
        arguments: [
            ("categories", "leave ruleNoLongerMatches"), ("email_zakelijk", "leave noAddress"),
            ("given_name,initials,prefixes,family_name", "empty fields"),
        ])
    func emptiedColumn(columns: String, change: String) async throws {
        try await LinkedList.run(persons: 40) { list in
            try await list.quiet()
            try await list.brake(removals: 5)
            try await list.control("DELETE", "requests")
            let empty = columns.filter { $0 == "," }
            let report = try await list.imported(
                "source,id,\(columns)\n" + (0..<40).map { "test,\($0),\(empty)\n" }.joined())
            #expect(report.changed == 40)
            try await list.quiet()
            let plan = try #require(try await list.heldPlan())
            #expect(plan.heldBecause == "40 removals within a day of 40 members")
            let plans = Plans(pool: list.pool)
            let lines = try await plans.lines(plan: plan.id)
            #expect(lines.count == 40)
            #expect(Set(lines.map { "\($0.change) \($0.reason)" }) == [change])
            #expect(Set(lines.map(\.cause)) == ["import persons.csv"])
            let refused = await #expect(throws: PostgresError.self) {
                _ = try await plans.discard(plan: plan.id, version: plan.version, actor: "test")
            }
            #expect(refused?.message.contains("40 by import persons.csv") == true)
            try await list.imported(
                "source,id,given_name,family_name,email_zakelijk,categories\n"
                    + (0..<40).map { "test,\($0),Jan,Berg \($0),\(list.address("\($0)")),\(LinkedList.category)\n" }
                    .joined())
            try await list.quiet()
            #expect(try await list.heldPlan() == nil)
            #expect(try await self.plans(list) == 1)
            #expect(try await list.writes() == 0)
        }
    }

    @Test("a file is named also after somebody was erased, whether the evaluation or the ledger comes first")
    func afterAnErasure() async throws {
        try await LinkedList.run(persons: 1) { list in
            try await list.quiet()
            _ = try await Erasures(pool: list.pool, vault: list.instances.vault)
                .erase(source: "test", id: "0", actor: "test")
            try await list.quiet()
            try await list.pool.query("update koppeling.connector_instance set joins_cap = 0")
            // What is looked at first is a matter of chance, unless the ledger is looked at last.
            for name in ["a.csv", "b.csv"] {
                if name == "b.csv" { try await list.pool.query("select koppeling.pause(kind => 'erasure.check')") }
                try await list.imported(
                    "source,id,email_zakelijk,categories\n"
                        + (0..<5).map { "test,\(name)\($0),\($0).\(name)@post.koppeling.nl,\(LinkedList.category)\n" }
                        .joined(), name: name)
                try await list.quiet(besides: "erasure.check")
            }
            try await list.pool.query("select koppeling.resume(kind => 'erasure.check')")
            try await list.quiet()
            let plan = try #require(try await list.heldPlan())
            let causes = try await Plans(pool: list.pool).lines(plan: plan.id).map(\.cause)
            #expect(causes == Array(repeating: "import a.csv", count: 5) + Array(repeating: "import b.csv", count: 5))
        }
    }

    @Test("hundreds of single puts in a minute are held beyond what may leave in a day, all in one plan")
    func singlePuts() async throws {
        try await LinkedList.run(persons: 1, workers: 2) { list in
            try await list.put(1..<300)
            try await list.quiet()
            try await list.brake(removals: 10)
            try await withThrowingTaskGroup(of: Void.self) { tasks in
                for part in 0..<3 {
                    tasks.addTask {
                        for id in (part * 100)..<(part * 100 + 100) { try await list.put("\(id)", isMember: false) }
                    }
                }
                try await tasks.waitForAll()
            }
            try await list.quiet()
            let archived = try await list.members("archived")
            let plan = try #require(try await list.heldPlan())
            #expect(archived <= 10)
            #expect(archived + plan.leaves == 300)
            #expect(try await plans(list) == 1)
        }
    }

    @Test("a company's category that goes takes everybody there into one plan, which its coming back dissolves")
    func companyCategory() async throws {
        try await LinkedList.run { list in
            try await list.pool.query(
                #"select koppeling.put_company('{"source": "test", "id": "C", "categories": ["Klant"]}')"#)
            try await list.put(0..<60, isMember: false, #"{"positions": [{"company": "C"}]}"#)
            try await list.saveRules(#"[[{"kind": "companyCategory", "value": "Klant"}]]"#)
            try await list.quiet()
            #expect(try await list.members("subscribed") == 60)
            try await list.brake(removals: 5)
            try await list.control("DELETE", "requests")
            try await list.pool.query(
                #"select koppeling.put_company('{"source": "test", "id": "C", "categories": []}')"#)
            try await list.quiet()
            let plan = try #require(try await list.heldPlan())
            #expect(plan.leaves == 60 && plan.joins == 0)
            let lines = try await Plans(pool: list.pool).lines(plan: plan.id)
            #expect(Set(lines.map(\.cause)) == ["put company"])
            try await list.pool.query(
                #"select koppeling.put_company('{"source": "test", "id": "C", "categories": ["Klant"]}')"#)
            try await list.quiet()
            #expect(try await list.heldPlan() == nil)
            #expect(try await plans(list) == 1)
            #expect(try await list.writes() == 0)
        }
    }

    @Test("companies that merge bring everybody at the survivor in by one plan, and send nothing before it is approved")
    func mergedCompanies() async throws {
        try await LinkedList.run { list in
            let companies = Companies(pool: list.pool)
            try await companies.put(#"[{"source": "test", "id": "C"}, {"source": "test", "id": "D"}]"#)
            try await list.put(0..<10, isMember: false, #"{"positions": [{"company": "C"}]}"#)
            try await list.put(10..<70, isMember: false, #"{"positions": [{"company": "D"}]}"#)
            try await list.saveRules(#"[[{"kind": "company", "value": "test/C"}]]"#)
            try await list.quiet()
            #expect(try await list.members("subscribed") == 10)
            try await list.brake(joins: 5)
            try await list.control("DELETE", "requests")
            try await companies.merge(
                Identity(source: "test", id: "C"), into: Identity(source: "test", id: "D"), actor: "test")
            try await list.quiet()
            let plan = try #require(try await list.heldPlan())
            #expect(plan.joins == 60 && plan.leaves == 0)
            #expect(try await plans(list) == 1)
            #expect(try await list.writes() == 0)
            let joined = try await Plans(pool: list.pool).approve(plan: plan.id, version: plan.version, actor: "test")
            #expect(joined == 60)
            try await list.quiet()
            #expect(try await list.members("subscribed") == 70)
        }
    }
}
