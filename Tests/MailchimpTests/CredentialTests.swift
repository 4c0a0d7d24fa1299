import HTTPClient
import Mailchimp
import Testing

@Suite struct CredentialTests {
    private static let digits = "fedcba9876543210fedcba9876543210"

    @Test(arguments: ["us1", "us12", "us999"])
    func `A key names its data centre`(dataCentre: String) throws {
        #expect(try APIKey("\(Self.digits)-\(dataCentre)").dataCentre == dataCentre)
    }

    @Test func `Blanks around a copied key do no harm`() throws {
        #expect(try APIKey(" \(Self.digits)-us6\n").dataCentre == "us6")
    }

    @Test(arguments: [
        "", "us12", digits, "\(digits)-", "\(digits)-us", "\(digits)-us1234", "\(digits)-eu1", "\(digits)-US1",
        "\(digits)-us1.evil.example", "\(digits)-us1/", "\(digits)-us1@evil", "\(digits)-us1-us2", "\(digits)-us١",
        "\(digits)-us1\n.evil", "0123456789abcdef-us1", "\(digits.uppercased())-us1",
        "g123456789abcdef0123456789abcdef-us1", "\(digits)0-us1",
    ])
    func `Nothing but a data centre can become part of a host name`(text: String) throws {
        let error = #expect(throws: MailchimpError.self) { try APIKey(text) }
        #expect(error?.code == .invalidKey)
        #expect(error?.detail.contains("-us12") == true)
        #expect(error?.detail.contains(Self.digits) == false)
        let http = HTTPClient()
        defer { http.shutdown() }
        guard let dash = text.lastIndex(of: "-") else { return }
        let suffix = String(text[text.index(after: dash)...])
        guard suffix != "us1", suffix != "us2" else { return }
        #expect(throws: MailchimpError.self) {
            try MailchimpClient(credential: .accessToken("token", dataCentre: suffix), http: http)
        }
    }

    @Test func `A secret is never printed`() throws {
        let key = try APIKey("\(Self.digits)-us6")
        let credential = Credential.apiKey(key)
        let token = Credential.accessToken("tokensecret", dataCentre: "us6")
        var dumped = ""
        dump((key, credential, token), to: &dumped)
        for text in [
            "\(key)", "\(credential)", "\(token)", String(reflecting: credential), String(reflecting: token), dumped,
        ] {
            #expect(!text.contains(Self.digits))
            #expect(!text.contains("tokensecret"))
        }
    }
}
