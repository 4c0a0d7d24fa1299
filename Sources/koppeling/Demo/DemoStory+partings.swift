import FoundationEssentials
import Postgres

/// Leaving, hands, and those who say no.
extension DemoStory {
    private var group: String { "Mailchimp - Nieuwsbrief" }

    private func address(_ id: String) -> String { "persoon\(id)@post.koppeling.test" }

    /// 5. A category is dropped, a person is removed by hand, another is added by hand.
    @Sendable func leaveAndHands() async throws -> String {
        try await world.put("1005", #"{"categories": []}"#)
        try await world.program.run("group", "remove", group, "coachview", "1006")
        try await world.program.run("group", "add", group, "coachview", "1702")
        for id in ["1005", "1006"] {
            try await world.eventually("\(id) is archived") {
                try await door.contact(address(id))?.status == "archived"
            }
        }
        try await world.eventually("the person added by hand is created") {
            try await door.contact(address("1702"))?.status == "subscribed"
        }
        try await world.put("1006", #"{"categories": []}"#)
        try await world.put("1006", #"{"categories": ["\#(DemoPersons.newsletter)"]}"#)
        try await world.quiet()
        try expect(
            try await world.membership("1006") == "inactive (manual)", "removed by hand, and a rule brought it back")
        try expect(
            try await door.contact(address("1006"))?.status == "archived", "removed by hand, and subscribed again")
        try expect(try await world.membership("1702") == "active (manual)", "added by hand, and not a member")
        return "a dropped category and a removal by hand were archived, an addition by hand was created"
    }

    /// 6. No means no: by the link in a mail, with its webhook lost, and told to a user here.
    @Sendable func refusals() async throws -> String {
        try await door.asContact("unsubscribe", address("1008"))
        try await world.eventually("the webhook makes the membership inactive") {
            try await world.membership("1008") == "inactive (unsubscribed)"
        }
        try await door.send("PUT", "webhooks", #"{"drop_share": 1}"#)
        try await door.asContact("unsubscribe", address("1009"))
        try await world.program.run("instance", "pull", "Nieuwsbrief")
        try await world.eventually("the pull finds an unsubscribe whose webhook was lost") {
            try await world.membership("1009") == "inactive (unsubscribed)"
        }
        try await door.send("PUT", "webhooks", #"{"drop_share": 0}"#)
        try await world.program.run("person", "unsubscribe", "coachview", "1010")
        try await world.eventually("a no that was told here reaches Mailchimp") {
            try await door.contact(address("1010"))?.status == "unsubscribed"
        }
        for id in ["1008", "1009", "1010"] {
            try await world.put(id, #"{"categories": []}"#)
            try await world.put(id, #"{"categories": ["\#(DemoPersons.newsletter)"]}"#)
            try await world.put(id, #"{"emails": {"zakelijk": "nieuw\#(id)@post.koppeling.test"}}"#)
            try await world.program.run("group", "add", group, "coachview", id)
        }
        try await world.quiet()
        for id in ["1008", "1009", "1010"] {
            try expect(
                try await world.membership(id) == "inactive (unsubscribed)", "\(id) said no and is a member again")
            try expect(try await door.contact(address(id))?.status == "unsubscribed", "\(id) said no and is subscribed")
            try expect(
                try await door.contact("nieuw\(id)@post.koppeling.test") == nil,
                "\(id) said no and a new address is mailed")
        }
        let inactive = try await world.number(
            """
            select count(*) from koppeling.person
            where external_id in ('1008', '1009', '1010') and state <> 'active'
            """)
        try expect(inactive == 0, "a person file was made inactive by an unsubscribe")
        return "three said no, one unheard by webhook, one told here: inactive for good, their person files active"
    }
}
