import Mailchimp
import Postgres
import TestSupport
import Testing

@testable import Connector

/// What fills the merge fields of a list.
@Suite("Merge fields", .database)
struct MergeFieldTests {
    private let pool = TestDatabase.current.pool

    private func fields(_ list: LinkedList) -> MergeFields {
        MergeFields(pool: list.pool, accounts: list.accounts)
    }

    private func map(_ list: LinkedList, _ tag: String, _ source: String, silent: Bool = false) async throws {
        try await fields(list).map(
            tag, to: source, triggers: !silent, makingNamed: tag, instance: list.instance, actor: "test")
    }

    private func value(_ list: LinkedList, _ id: String, _ tag: String) async throws -> String? {
        try await list.contact(list.address(id))?.merge_fields[tag]
    }

    private func text(_ expression: Query) async throws -> String? {
        try await pool.query(expression).scalar(as: String?.self)
    }

    @Test(
        "A salutation: a title and the family name, whose prefix takes a capital where no name precedes it",
        arguments: [
            ("mevrouw", "Anna", "van der", "Berg", "mevrouw Van der Berg"),
            ("heer", nil, "'t", "Hart", "heer 't Hart"), ("heer", nil, "d'", "Hondt", "heer D' Hondt"),
            ("mevrouw", nil, nil, "van Dijk", "mevrouw Van Dijk"),
            ("mevrouw", nil, nil, "ijzerman", "mevrouw IJzerman"),
            ("heer", nil, nil, "østergård", "heer Østergård"), ("", "Anna", "van der", "Berg", "Anna van der Berg"),
            ("", nil, "van der", "Berg", "Van der Berg"), ("mevrouw", "Anna", nil, nil, "Anna"),
            (nil, nil, nil, nil, ""),
        ] as [(String?, String?, String?, String?, String)])
    func salutation(
        title: String?, given: String?, prefixes: String?, family: String?, expected: String
    ) async throws {
        let made = try await text(
            "select koppeling.salutation(\(title), \(given), null, \(prefixes), \(family))")
        #expect(made == expected)
    }

    @Test("A text is cut at 255 bytes, between two letters")
    func length() async throws {
        let cut = try await text("select koppeling.merge_text(repeat('é', 200))")
        #expect(cut == String(repeating: "é", count: 127))
        let emoji = try await text("select koppeling.merge_text(repeat('😀', 64))")
        #expect(emoji == String(repeating: "😀", count: 63))
        let whole = try await text("select koppeling.merge_text(repeat('x', 255))")
        #expect(whole?.count == 255)
        let none = try await text("select koppeling.merge_text(null)")
        #expect(none == "")
    }

    @Test("Names are mapped at linking; others when asked for, made where the list lacks them, and follow the persons")
    func mapping() async throws {
        try await LinkedList.run(persons: 2) { list in
            try await list.put("0", #"{"gender": "vrouw", "prefixes": "van der"}"#)
            try await list.quiet()
            #expect(try await value(list, "0", "FNAME") == "Jan")
            #expect(try await value(list, "0", "LNAME") == "van der Berg 0")
            try await map(list, "AANHEF", "salutation")
            try await map(list, "GESLACHT", "gender")
            try await list.quiet()
            #expect(try await value(list, "0", "AANHEF") == "mevrouw Van der Berg 0")
            #expect(try await value(list, "0", "GESLACHT") == "vrouw")
            #expect(try await value(list, "1", "AANHEF") == "Jan Berg 1")
            #expect(try await value(list, "1", "GESLACHT") == "")
            try await list.pool.query(
                "select koppeling.set_gender_text(\(list.instance.name), 'female', 'V', 'mw.')")
            try await list.quiet()
            #expect(try await value(list, "0", "GESLACHT") == "V")
            #expect(try await value(list, "0", "AANHEF") == "mw. Van der Berg 0")
            // Left to the list: what stands there stays, and no call is made for it.
            try await list.control("DELETE", "requests")
            try await fields(list).unmap("AANHEF", instance: list.instance, actor: "test")
            try await list.quiet()
            #expect(try await list.writes() == 0)
            #expect(try await value(list, "0", "AANHEF") == "mw. Van der Berg 0")
        }
    }

    @Test("The first position's function, department and company fill a field, and a change of them is an update")
    func positions() async throws {
        try await LinkedList.run(persons: 1) { list in
            try await list.quiet()
            try await map(list, "FUNCTIE", "function")
            try await map(list, "COMPANY", "company")
            try await list.pool.query(
                """
                with f as (insert into koppeling.job_function (name) values ('Docent') returning id),
                    c as (insert into koppeling.company (source, external_id, name) values ('test', '1', 'ROC')
                          returning id)
                insert into koppeling.position (person_id, job_function_id, company_id)
                select koppeling.find_person('test', '0'), f.id, c.id from f, c
                """)
            try await list.pool.query(
                "select koppeling.request_evaluation(array[koppeling.find_person('test', '0')], 'put')")
            try await list.quiet()
            #expect(try await value(list, "0", "FUNCTIE") == "Docent")
            #expect(try await value(list, "0", "COMPANY") == "ROC")
        }
    }

    @Test("A silent field goes along with the next update and is no reason for one")
    func silent() async throws {
        try await LinkedList.run(persons: 1) { list in
            try await list.quiet()
            try await map(list, "LETTERS", "initials", silent: true)
            try await list.put("0", #"{"initials": "J.P."}"#)
            try await list.quiet()
            #expect((try await value(list, "0", "LETTERS") ?? "") == "")
            try await list.put("0", #"{"initials": "J.P.", "given_name": "Johan"}"#)
            try await list.quiet()
            #expect(try await value(list, "0", "LETTERS") == "J.P.")
            #expect(try await value(list, "0", "FNAME") == "Johan")
            // Once it is a reason again, what differs is sent.
            try await list.put("0", #"{"initials": "J.", "given_name": "Johan"}"#)
            try await list.quiet()
            #expect(try await value(list, "0", "LETTERS") == "J.P.")
            try await map(list, "LETTERS", "initials")
            try await list.quiet()
            #expect(try await value(list, "0", "LETTERS") == "J.")
        }
    }

    @Test("Checked: an unknown tag, a type that takes no text, choices; a required field that nothing fills is a task")
    func checks() async throws {
        try await LinkedList.run(persons: 1) { list in
            let name = list.instance.name
            let (client, _) = try await list.accounts.client(
                account: try await list.accounts.find(list.instance.account).id)
            _ = try await client.addMergeField(list.list, NewMergeField(tag: "WHEN", name: "When", kind: .date))
            _ = try await client.addMergeField(
                list.list, NewMergeField(tag: "SEX", name: "Sex", kind: .radio, choices: ["man", "vrouw"]))
            let fields = fields(list)
            for (tag, source, told) in [
                ("NOWHERE", "family_name", "has no such field"), ("WHEN", "family_name", "of type date"),
                ("SEX", "company", "of type radio"), ("SEX", "gender", #""anders" is none of its choices"#),
                ("FNAME", "shoe_size", "fills no field"),
            ] {
                let error = await #expect(throws: PostgresError.self, "\(tag)") {
                    try await fields.map(tag, to: source, instance: list.instance, actor: "test")
                }
                #expect(error?.message.contains(told) == true, "\(String(describing: error))")
            }
            try await list.pool.query("select koppeling.set_gender_text(\(name), 'other', '')")
            try await fields.map("SEX", to: "gender", instance: list.instance, actor: "test")
            // A field that goes away in Mailchimp, or that is required there, is told once, until it is settled.
            try await list.pool.query(
                """
                select koppeling.observe_fields(\(list.instance.id)::bigint, '[
                    {"tag": "FNAME", "name": "", "type": "text", "required": true, "choices": []},
                    {"tag": "MUST", "name": "", "type": "text", "required": true, "choices": []}]')
                """)
            let detail: String = try await list.pool.query(
                "select detail::text from koppeling.task where kind = 'mergeFieldMissing' and done_at is null"
            ).scalar()
            for tag in ["LNAME", "MUST", "SEX"] { #expect(detail.contains(#""\#(tag)""#), "\(detail)") }
            #expect(!detail.contains("FNAME"))
            try await fields.refresh(instance: list.instance)
            let open: Int64 = try await list.pool.query(
                "select count(*) from koppeling.task where kind = 'mergeFieldMissing' and done_at is null"
            ).scalar()
            #expect(open == 0)
        }
    }

    @Test("A mapping that would empty a field of many waits in a plan")
    func emptied() async throws {
        try await LinkedList.run(persons: 30) { list in
            try await list.quiet()
            try await map(list, "FNAME", "prefixes")
            try await list.quiet()
            let plan = try #require(try await Plans(pool: list.pool).list().first { $0.state == "held" })
            #expect(plan.emptied == 30)
            let emptied = try await text("select string_agg(distinct fields, ';') from koppeling.plan_lines")
            #expect(emptied == "FNAME")
            #expect(try await value(list, "7", "FNAME") == "Jan")
        }
    }
}
