import FoundationEssentials
import TestSupport
import Testing

@testable import MailchimpSandbox

/// When webhooks are delivered, how often, and how they are signed.
@Suite struct DeliveryTests {
    @Test("a delivery that fails is made again at growing intervals for 75 minutes of the sandbox's clock")
    func schedule() async throws {
        try await visit({ $0.webhookRetries = WebhookSchedule.faithful }) { visit in
            try await withReceiver { receiver in
                _ = try await visit.subscribe(receiver)
                receiver.answer(with: 500)
                try await visit.make("ann@people.test", .pending)
                try await visit.control("POST", "\(visit.door)/members/ann@people.test/admin/clean", [:])
                var advanced = 0
                var former = Duration.zero
                for (tries, pause) in WebhookSchedule.faithful.enumerated() {
                    try await eventually("try \(tries + 1)") {
                        try await visit.waiting().contains { $0["tries"]?.integer == tries + 1 }
                    }
                    let seconds = Int(pause / .seconds(1))
                    #expect(pause > former)
                    try await visit.advance(seconds - 30)
                    // Half a minute of real time would have to pass for this to be due.
                    #expect(try await visit.waiting().count == 1)
                    try await visit.advance(30)
                    advanced += seconds
                    former = pause
                }
                #expect(advanced == 75 * 60)
                try await eventually("it is given up") {
                    try await visit.control("GET", "/sandbox/webhooks")["given_up"] == 1
                }
                #expect(receiver.types == Array(repeating: "cleaned", count: 8))
                #expect(Set(receiver.bodies).count == 1)
                #expect(try await visit.control("GET", "/sandbox/webhooks")["pending"] == 0)
            }
        }
    }

    @Test("a receiver that takes too long counts as one that failed")
    func timeout() async throws {
        try await visit { visit in
            try await withReceiver { receiver in
                let made = try await visit.subscribe(receiver)
                #expect(made.status == 200)
                try await visit.control("PATCH", "/sandbox/webhooks", ["timeout_milliseconds": 50])
                receiver.delay(.seconds(60))
                try await visit.make("ann@people.test", .pending)
                try await visit.control("POST", "\(visit.door)/members/ann@people.test/admin/clean", [:])
                try await eventually("it is given up") {
                    try await visit.control("GET", "/sandbox/webhooks")["given_up"] == 1
                }
                let tries = try await visit.control("GET", "/sandbox/webhooks/deliveries")["deliveries"]?.array
                #expect(tries?.compactMap { $0["status"]?.integer } == [0, 0, 0])
            }
        }
    }

    @Test("410, or as many deliveries given up in a row as were set, switch a webhook off with all that waits for it")
    func disabling() async throws {
        try await visit({ $0.webhookRetries = WebhookSchedule.faithful }) { visit in
            try await withReceiver { receiver in
                _ = try await visit.subscribe(receiver)
                receiver.answer(with: 500)
                try await visit.contacts(["ann@people.test"])
                try await eventually("both wait") {
                    try await visit.waiting().count { $0["tries"]?.integer == 1 } == 2
                }
                receiver.answer(with: 410)
                try await visit.control("POST", "\(visit.door)/members/ann@people.test/admin/clean", [:])
                try await eventually("the webhook is off") { try await visit.disabled() == "it answered 410" }
                #expect(try await visit.waiting().isEmpty)
                let fired = try await visit.control("GET", "/sandbox/webhooks")["fired"]
                try await visit.contacts(["bee@people.test"])
                #expect(try await visit.control("GET", "/sandbox/webhooks")["fired"] == fired)
            }
        }
        try await visit({ $0.webhookRetries = [] }) { visit in
            try await withReceiver { receiver in
                _ = try await visit.subscribe(receiver)
                receiver.answer(with: 500)
                try await visit.control("PATCH", "/sandbox/webhooks", ["disabled_after": 3])
                try await visit.contacts(["ann@people.test"])
                try await eventually("both are given up") {
                    try await visit.control("GET", "/sandbox/webhooks")["given_up"] == 2
                }
                #expect(try await visit.disabled() == nil)
                try await visit.contacts(["bee@people.test"])
                try await eventually("the webhook is off") {
                    try await visit.disabled() == "3 deliveries in a row failed"
                }
            }
        }
    }

    @Test("what is held back comes in another order, and at once when the clock is put forward")
    func shuffle() async throws {
        try await visit { visit in
            try await withReceiver { receiver in
                _ = try await visit.subscribe(receiver)
                try await visit.control("PUT", "/sandbox/webhooks", ["shuffle_milliseconds": 3_600_000])
                try await visit.contacts((0..<10).map { "p\($0)@people.test" })
                let waiting = try await visit.waiting().compactMap { $0["delivery"]?.integer }
                #expect(waiting.count > 10)
                #expect(waiting != waiting.sorted())
                try await visit.advance(3600)
                try await eventually("all twenty") { receiver.forms.count == 20 }
            }
        }
    }

    @Test("a webhook made while the switch is on is signed with a secret that is shown once")
    func signature() async throws {
        // By openssl dgst -sha256 -hmac secret.
        #expect(
            Signature.header(of: "a=b", secret: "secret", at: 1_700_000_000)
                == "t=1700000000,v1=65e2939150c9a8c32406a4d18dcce1cb5abf8152f7cabeb639e9e83f51323f97")
        try await visit { visit in
            try await withReceiver { receiver in
                let made = try await visit.subscribe(receiver)
                #expect(made["signing_enabled"] == true)
                let secret = try #require(made["signing_secret"].string)
                let id = try #require(made["id"].string)
                let read = try await visit.call("GET", "/3.0/lists/\(visit.list)/webhooks/\(id)")
                #expect(read["signing_enabled"] == true)
                #expect(read["signing_secret"] == .null)
                // The receiver's own clock is not put forward, so the signature is of real time.
                try await visit.advance(86_400)
                try await visit.contacts(["ann@people.test"])
                try await eventually("both events") { receiver.signatures.count == 2 }
                for (body, signature) in zip(receiver.bodies, receiver.signatures) {
                    let text = try #require(signature)
                    let time = try #require(Int(text.dropFirst(2).prefix { $0 != "," }))
                    #expect(text == Signature.header(of: body, secret: secret, at: time))
                    #expect(abs(time - Int(Date().timeIntervalSince1970)) < 60)
                }
            }
        }
        try await visit({ $0.switches = .permissive }) { visit in
            try await withReceiver { receiver in
                let made = try await visit.subscribe(receiver)
                #expect(made["signing_enabled"] == .null)
                #expect(made["signing_secret"] == .null)
                try await visit.contacts(["ann@people.test"])
                try await eventually("both events") { receiver.signatures == [nil, nil] }
            }
        }
    }

    @Test("a profile tells the interests of the contact, a grouping for each question")
    func groupings() async throws {
        try await visit { visit in
            try await withReceiver { receiver in
                _ = try await visit.subscribe(receiver)
                let categories = "/3.0/lists/\(visit.list)/interest-categories"
                let category = try await visit.call("POST", categories, ["title": "News", "type": "checkboxes"])
                let question = try #require(category["id"].string)
                var interests = JSONObject()
                for (name, isChosen) in [("Daily", true), ("Weekly", false), ("Jobs & more", true)] {
                    let path = "\(categories)/\(question)/interests"
                    let interest = try await visit.call("POST", path, ["name": .string(name)])
                    interests.append(try #require(interest["id"].string), .bool(isChosen))
                }
                let contact: JSON = ["email_address": "ann@people.test", "interests": .object(interests)]
                try await visit.control("POST", "\(visit.door)/contacts", ["contacts": [contact]])
                try await eventually("both events") { receiver.forms.count == 2 }
                let form = try #require(receiver.forms.first)
                #expect(form["data[merges][GROUPINGS][0][unique_id]"] == question)
                #expect(form["data[merges][GROUPINGS][0][name]"] == "News")
                #expect(form["data[merges][GROUPINGS][0][groups]"] == "Daily, Jobs & more")
            }
        }
    }

    @Test("an event of any type can be sent, and one of a type that was not asked for is not")
    func ownEvents() async throws {
        try await visit { visit in
            try await withReceiver { receiver in
                _ = try await visit.subscribe(receiver)
                let door = "\(visit.door)/events"
                #expect(try await visit.control("POST", door, ["type": "campaign"])["sent"] == 0)
                try await visit.control("POST", door, ["type": "sms_subscribe", "data": ["phone": "+31 20"]])
                try await eventually("the event") { receiver.types == ["sms_subscribe"] }
                #expect(receiver.forms.first?["data[phone]"] == "+31 20")
                #expect(receiver.forms.first?["data[list_id]"] == visit.list)
                for wrong in [["drop_share": 2], ["shuffled": 1], ["hurried": 1]] as [JSON] {
                    #expect(try await visit.call("PUT", "/sandbox/webhooks", wrong).status == 400)
                }
            }
        }
    }
}

extension Visit {
    /// The deliveries that wait.
    fileprivate func waiting() async throws -> [JSON] {
        try await control("GET", "/sandbox/webhooks/waiting")["waiting"]?.array ?? []
    }

    /// Why the list's webhook is off.
    fileprivate func disabled() async throws -> String? {
        try await control("GET", door)["webhooks"]?.array?.first?["disabled"]?.string
    }

    /// Imports contacts, each of which fires subscribe and profile.
    fileprivate func contacts(_ addresses: [String]) async throws {
        let contacts = addresses.map { JSON.object(["email_address": .string($0)]) }
        try await control("POST", "\(door)/contacts", ["contacts": .array(contacts)])
    }
}
