import Postgres
import TargetGroups
import TestSupport
import Testing

@Suite("References that a statement checks for all its rows", .database)
struct ReferenceTests {
    private let world = World()

    private func refused(_ statement: String) async -> String? {
        do {
            try await world.pool.query("\(unsafe: statement)")
            return nil
        } catch {
            return error.sqlState
        }
    }

    @Test(
        "to nothing are refused",
        arguments: [
            "insert into koppeling.person_category values (1, 99)",
            "insert into koppeling.position (person_id, job_function_id) values (1, 99)",
            "insert into koppeling.position (person_id, department_id) values (1, 99)",
            "insert into koppeling.position (person_id, company_id) values (1, 99)",
            "insert into koppeling.audience_member (instance_id, address, address_key) values (99, 'a@b.nl', 'a@b.nl')",
            """
            insert into koppeling.claim (instance_id, person_id, member_id, address, address_key, fields, manual)
            values (99, 1, 99, 'a@b.nl', 'a@b.nl', '{}', false)
            """,
            "insert into koppeling.change_plan_line values (99, 1, 'join', 'rule', 'rules')",
        ])
    func nothing(statement: String) async {
        #expect(await refused(statement) == "23503")
    }

    @Test("keep what they name from being deleted, and from getting another number")
    func used() async throws {
        try await world.persons.put(
            """
            [{"source": "crm", "id": "1", "categories": ["Mailingen / Nieuwsbrief"],
              "positions": [{"function": "Manager", "department": "Verkoop", "company": "C1"}]}]
            """)
        for table in ["category", "job_function", "department", "company"] {
            #expect(await refused("delete from koppeling.\(table)") == "23503")
            #expect(await refused("update koppeling.\(table) set id = default") == "23001")
        }
        try await world.pool.query("update koppeling.person_category set category_id = category_id")
        #expect(await refused("update koppeling.person_category set category_id = 99") == "23503")
        #expect(await refused("update koppeling.position set company_id = 99") == "23503")
    }

    @Test("are waited for: who deletes a value that a put is about to use finds it in use")
    func race() async throws {
        try await world.pool.query("insert into koppeling.job_function (name) values ('Manager')")
        let pool = world.pool
        try await pool.withConnection { put in
            try await put.query("begin")
            try await put.query("insert into koppeling.position (person_id, job_function_id) values (1, 1)")
            async let deleted = refused("delete from koppeling.job_function")
            try await eventually("the deletion waits") {
                try await put.query(
                    "select exists (select from pg_locks where not granted and locktype = 'transactionid')"
                ).scalar()
            }
            try await put.query("commit")
            #expect(await deleted == "23503")
        }
    }
}
