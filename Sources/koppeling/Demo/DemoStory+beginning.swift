import FoundationEssentials
import IO
import MailchimpSandbox
import Postgres

/// Linking, importing, the first rule.
extension DemoStory {
    /// 1. An empty database, a list with two contacts nobody here knows, and the link between them.
    @Sendable func link() async throws -> String {
        try await world.program.run("migrate")
        let list = await world.sandbox.lists().first { $0.name == "Nieuwsbrief" }?.id ?? ""
        memory.withLock { $0.list = list }
        try await door.send(
            "POST", "lists/\(list)/contacts",
            #"{"contacts": [{"email_address": "onbekend1@elders.test"}, {"email_address": "onbekend2@elders.test"}]}"#)
        let unknown = try await door.contacts()
        memory.withLock { $0.unknown = unknown }
        try expect(unknown.count == 2, "the list holds \(unknown.count) contacts instead of two")

        try await door.send("POST", "accounts", #"{"key": "\#(StandInWorld.emptyKey)", "name": "Leeg"}"#)
        try await world.program.run("account", "connect", "--name", "Leeg", input: StandInWorld.emptyKey)
        let noList = try await world.program.run("instance", "link", "Leeg", expecting: 1)
        try expect(noList.errors.contains("has no list"), "linking without a list says: \(noList.errors)")

        try await world.program.run("account", "connect", "--name", "Instituut", input: StandInWorld.apiKey)
        try await world.program.run("instance", "link", "Instituut", "--list", "Nieuwsbrief")
        let twice = try await world.program.run("instance", "link", "Instituut", "--name", "Twee", expecting: 1)
        try expect(twice.errors.contains("linked already"), "linking twice says: \(twice.errors)")
        let templates = try await world.number(
            """
            select count(*)
            from koppeling.action_template t
            join koppeling.connector_instance i on i.id = t.instance_id
            join koppeling.target_group g on g.id = i.target_group_id
            where g.name = 'Mailchimp - Nieuwsbrief'
            """)
        try expect(templates == 3, "the group has \(templates) templates instead of three")
        return "linked: group \"Mailchimp - Nieuwsbrief\" with three templates; no list and the same list are refused"
    }

    /// 2. A thousand persons from a file.
    @Sendable func importPersons() async throws -> String {
        let file = world.folder + "/personen.csv"
        try Data(persons.csv().utf8).write(to: URL(filePath: file))
        try await world.program.run("person", "import", file)
        let persons = try await world.number("select count(*) from koppeling.person where state = 'active'")
        let members = try await world.number(
            """
            select count(*)
            from koppeling.person_category pc
            join koppeling.category c on c.id = pc.category_id
            where c.name = 'Nieuwsbrief'
            """)
        try expect(persons == 1000 && members == 600, "imported \(persons) persons, \(members) with the category")
        return "imported 1,000 persons, 600 with \(DemoPersons.newsletter)"
    }

    /// 3. A rule; its plan is held, approved, and the list fills.
    @Sendable func approveRule() async throws -> String {
        try await world.program.run("rule", "add", "Mailchimp - Nieuwsbrief", DemoPersons.newsletter)
        try startWorker()
        try startWorker()
        try await world.program.run("instance", "enable", "Nieuwsbrief")
        let expected = persons.expected()
        let joining = persons.persons.prefix(DemoPersons.members).filter { !$0.address.isEmpty }.count
        try await world.eventually("the plan holds \(joining) joins") {
            try await world.number(
                """
                select coalesce(sum(joins), 0)::bigint from koppeling.plans
                where state = 'held' and held_because = 'first activation'
                """) == Int64(joining)
        }
        try await world.quiet()
        try expect(try await door.contacts().count == 2, "something was sent before the plan was approved")
        let plan = try await world.pool.query("select id, version from koppeling.plans where state = 'held'")
        let version = try plan[0].decode("version", as: Int32.self)
        let number = try plan[0].decode("id", as: Int64.self)
        let stale = try await world.program.run(
            "plan", "approve", String(number), "--plan-version", String(version + 1), expecting: 1)
        try expect(stale.errors.contains("has changed"), "a stale approval says: \(stale.errors)")
        let began = ContinuousClock.now
        try await world.program.run("plan", "approve", String(number), "--plan-version", String(version))
        try await world.quiet()
        let seconds = (ContinuousClock.now - began).components.seconds
        try await checkList(expected)
        for (address, before) in memory.withLock({ $0.unknown }) {
            let now = try await door.contact(address)
            try expect(now?.status == before.status && now?.writes == before.writes, "an unknown contact was touched")
        }
        let strangers = try await world.number(
            """
            select count(*)
            from koppeling.claim c
            join koppeling.audience_member m on m.id = c.member_id
            where m.address like '%@elders.test'
            """)
        try expect(strangers == 0, "an unknown contact is in the group")
        return "the plan was held, approved, and \(expected.count) contacts stood in the list \(seconds) s later; "
            + "the two unknown ones are untouched"
    }

    /// 4. Names and an address change; the contact stays the same one.
    @Sendable func edit() async throws -> String {
        let moving = persons.persons[2].address
        let before = try await door.contact(moving)
        try await world.put("1001", #"{"prefixes": "van 't", "family_name": "Hoog"}"#)
        try await world.put("1003", #"{"emails": {"zakelijk": "verhuisd1003@post.koppeling.test"}}"#)
        try await world.eventually("the list follows a change of name") {
            try await door.contact(persons.persons[0].address)?.merge_fields["LNAME"] == "van 't Hoog"
        }
        try await world.eventually("the contact moves") {
            try await door.contact("verhuisd1003@post.koppeling.test")?.status == "subscribed"
        }
        try await world.quiet()
        let after = try await door.contact("verhuisd1003@post.koppeling.test")
        try expect(
            after?.contact_id == before?.contact_id, "another contact was made instead of moving the one there was")
        try expect(try await door.contact(moving) == nil, "the old address still stands in the list")
        return "a prefix, a family name and an address changed: the list followed, and the contact kept its id"
    }
}
