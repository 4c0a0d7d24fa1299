import Testing

@testable import Connector

@Suite("The vault")
struct VaultTests {
    private let key = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="

    @Test("opens what it sealed, for the same purpose and with the same key only")
    func seals() throws {
        let vault = try Vault(base64: key)
        let sealed = try vault.seal("geheim", for: "one")
        #expect(try vault.open(sealed, for: "one") == "geheim")
        #expect(throws: ConnectorError.self) { try vault.open(sealed, for: "two") }
        let other = try Vault(base64: "ISECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=")
        #expect(throws: ConnectorError.self) { try other.open(sealed, for: "one") }
        #expect(throws: ConnectorError.self) { try vault.open([1, 2, 3], for: "one") }
    }

    @Test("opens with a previous key what that one sealed, and seals with the present one")
    func previous() throws {
        let new = "ISECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
        let third = "/////wQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
        let sealed = try Vault(base64: key).seal("geheim", for: "one")
        let vault = try Vault(base64: new, previous: "\(third), \(key)\n")
        #expect(try vault.open(sealed, for: "one") == "geheim")
        #expect(throws: ConnectorError.self) { try vault.open(sealed, for: "two") }
        #expect(vault.seal(of: sealed) == .previous)
        let anew = try vault.seal("geheim", for: "one")
        #expect(vault.seal(of: anew) == .current)
        #expect(try Vault(base64: new).open(anew, for: "one") == "geheim")
        #expect(try Vault(base64: key).seal(of: anew) == .unknown)
        #expect(throws: ConnectorError.self) { try Vault(base64: new, previous: "geheim") }
    }

    @Test("refuses a key that is not 32 bytes in base64", arguments: ["", "geheim", "AAEC"])
    func badKeys(text: String) {
        #expect(throws: ConnectorError.self) { try Vault(base64: text) }
    }

    @Test("makes a new secret each time")
    func secrets() {
        let secrets = Set((0..<100).map { _ in Vault.makeSecret() })
        #expect(secrets.count == 100)
        #expect(secrets.allSatisfy { $0.count == 64 && $0.allSatisfy(\.isHexDigit) })
    }
}
