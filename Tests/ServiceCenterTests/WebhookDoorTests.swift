import Connector
import FoundationEssentials
import HTTPClient
import Postgres
import ServiceCenter
import TestSupport
import Testing

@testable import MailchimpSandbox

@Suite("The webhooks' door", .database)
struct WebhookDoorTests {
    private let secret = "5ecre7ecre7ecre7"

    private func inbox() async throws -> [JSONText] {
        let rows = try await TestDatabase.current.pool.query("select body from koppeling.webhook_inbox order by id")
        return try rows.map { try $0.decode("body") }
    }

    @Test func mailchimpMayAskWhetherTheAddressIsRight() async throws {
        let instance = try await insertInstance(secret: secret)
        try await withServiceCenter { door in
            let right = try await door.send("GET", "/webhooks/mailchimp/\(instance)/\(secret)")
            #expect(right.status == 200)
            for path in ["\(instance)/wrong", "\(instance + 1)/\(secret)", "x/\(secret)"] {
                let wrong = try await door.send("GET", "/webhooks/mailchimp/" + path)
                #expect(wrong.status == 404)
            }
        }
        #expect(try await inbox().isEmpty)
    }

    @Test func aDeliveryIsStoredAsNestedJSON() async throws {
        let instance = try await insertInstance(secret: secret)
        try await withServiceCenter { door in
            let answer = try await door.deliver(
                "type=unsubscribe&data%5Bemail%5D=ann%40example.org&data[merges][FNAME]=Ann", instance: instance,
                secret: secret)
            #expect(answer.status == 200)
        }
        struct Delivery: Decodable {
            struct Contact: Decodable { var email: String, merges: [String: String] }
            var type: String, data: Contact
        }
        let stored = try await inbox()
        #expect(stored.count == 1)
        let delivery = try #require(stored.first).decode(Delivery.self)
        #expect(delivery.type == "unsubscribe")
        #expect(delivery.data.email == "ann@example.org")
        #expect(delivery.data.merges == ["FNAME": "Ann"])
    }

    @Test func aWrongSecretIsAnsweredLikeAnInstanceThatDoesNotExist() async throws {
        let instance = try await insertInstance(secret: secret)
        try await withServiceCenter { door in
            let wrong = try await door.deliver("type=unsubscribe", instance: instance, secret: "wrong")
            let missing = try await door.deliver("type=unsubscribe", instance: instance + 1, secret: secret)
            #expect(wrong.status == 404)
            #expect(wrong.text == missing.text)
        }
        #expect(try await inbox().isEmpty)
    }

    @Test func aBodyThatIsTooLargeIsRefused() async throws {
        let instance = try await insertInstance(secret: secret)
        try await withServiceCenter { door in
            let form = "a=" + String(repeating: "x", count: 300_000)
            let status1 = try await door.deliver(form, instance: instance, secret: secret).status
            #expect(status1 == 413)
        }
        #expect(try await inbox().isEmpty)
    }

    @Test func theSecretIsInNoLog() async throws {
        let instance = try await insertInstance(secret: secret)
        try await withServiceCenter { door in
            _ = try await door.deliver("type=unsubscribe", instance: instance, secret: secret)
            _ = try await door.deliver("type=unsubscribe", instance: instance + 1, secret: secret)
            let metrics = try await door.send("GET", "/metrics")
            #expect(metrics.text.contains("/webhooks/mailchimp/"))
            #expect(!metrics.text.contains(secret))
            #expect(door.log.text.contains("/webhooks/mailchimp/"))
            #expect(!door.log.text.contains(secret))
        }
    }

    @Test func aDeliveryOfAnUnknownTypeIsTaken() async throws {
        let instance = try await insertInstance(secret: secret)
        try await withServiceCenter { door in
            for form in ["type=sms_subscribe&data[phone]=1", "type=", "", "nonsense"] {
                let answer = try await door.deliver(form, instance: instance, secret: secret)
                #expect(answer.status == 200, "\(form)")
            }
        }
    }

    /// An instance whose webhook is signed, and the vault that has its secret.
    private func insertSignedInstance(_ signing: String) async throws -> (instance: Int64, vault: Vault) {
        let instance = try await insertInstance(secret: secret)
        let vault = try Vault(base64: "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=")
        let sealed = try vault.seal(signing, for: "webhook-signature:abc123")
        try await TestDatabase.current.pool.execute(
            "update koppeling.connector_instance set webhook_signing_secret = \(sealed)::bytea")
        return (instance, vault)
    }

    @Test func ofASignedWebhookOnlyWhatIsSignedIsStored() async throws {
        let (instance, vault) = try await insertSignedInstance("ondertekend")
        let form = "type=unsubscribe&data%5Bemail%5D=ann%40example.org"
        let now = Int(Date().timeIntervalSince1970)
        func header(of body: String = form, _ secret: String = "ondertekend", at seconds: Int = now) -> String {
            Signature.header(of: body, secret: secret, at: seconds)
        }
        try await withServiceCenter(vault: vault) { door in
            func status(_ signature: String?) async throws -> Int {
                try await door.send(
                    "POST", "/webhooks/mailchimp/\(instance)/\(secret)", type: "application/x-www-form-urlencoded",
                    headers: signature.map { [("X-Mailchimp-Signature", $0)] } ?? [], body: form
                ).status
            }
            let wrong = [
                nil, "", "t=\(now)", "nonsense", header(of: form + "&x=1"), header("another secret"),
                header(at: now - 301), header(at: now + 330),
            ]
            for signature in wrong {
                let refused = try await status(signature)
                #expect(refused == 403, "\(signature ?? "none")")
            }
            let before = try await inbox().count
            #expect(before == 0)
            let taken = try await status(header())
            #expect(taken == 200)
            let after = try await inbox().count
            #expect(after == 1)
        }
    }

    @Test func whatCannotBeCheckedIsNotTaken() async throws {
        let (instance, _) = try await insertSignedInstance("ondertekend")
        try await withServiceCenter { door in
            let answer = try await door.deliver("type=unsubscribe", instance: instance, secret: secret)
            #expect(answer.status == 500, "Mailchimp delivers it again")
            #expect(door.log.text.contains("set KOPPELING_SECRET_KEY"))
        }
        #expect(try await inbox().isEmpty)
    }
}
