import Foundation
import HTTPClient

@testable import Mailchimp

/// A listing, and each member of it written down and read again, as it is on its way to PostgreSQL.
func readMembers(_ bytes: [UInt8]) {
    let decoder = JSONDecoder()
    let one = try? decoder.decode(Member.self, from: Data(bytes))
    let page = try? decoder.decode(MemberPage.self, from: Data(bytes))
    for member in (page?.members ?? []) + [one].compactMap({ $0 }) {
        guard let written = try? JSONEncoder().encode(member),
            let again = try? decoder.decode(Member.self, from: written)
        else { fatalError("a member cannot be written down") }
        check(again.status == member.status && again.id == member.id, "a member changes when it is written down")
        check(again.mergeFields.count == member.mergeFields.count, "a merge field gets lost")
        _ = member.mergeFields.values.map(\.text)
    }
}

/// The other responses; the first byte chooses which.
func readResponse(_ bytes: [UInt8]) {
    let decoder = JSONDecoder()
    let body = Data(bytes.dropFirst())
    switch bytes.first {
    case UInt8(ascii: "a"): _ = try? decoder.decode(Account.self, from: body)
    case UInt8(ascii: "b"):
        guard let result = try? decoder.decode(BulkResult.self, from: body) else { return }
        let known = result.outcomes.count
        check(known <= result.newMembers.count + result.updatedMembers.count + result.errors.count, "one too many")
        for failure in result.errors { checkIsFitForLog(failure.error) }
    case UInt8(ascii: "c"): _ = try? decoder.decode([Activity].self, from: body)
    case UInt8(ascii: "f"): _ = try? decoder.decode([MergeField].self, from: body)
    case UInt8(ascii: "l"): _ = try? decoder.decode(MailingListPage.self, from: body)
    case UInt8(ascii: "m"): _ = try? decoder.decode(MetadataAnswer.self, from: body)
    case UInt8(ascii: "o"): _ = try? decoder.decode(TokenAnswer.self, from: body)
    case UInt8(ascii: "s"):
        guard var change = try? decoder.decode(SegmentChange.self, from: body) else { return }
        change.compare(adding: ["ann@people.test"], removing: ["bob@people.test"])
        check(change.unreported.count <= 2, "what was not asked is missed")
    case UInt8(ascii: "t"): _ = try? decoder.decode(TagPage.self, from: body)
    case UInt8(ascii: "w"): _ = try? decoder.decode([Webhook].self, from: body)
    default: return
    }
}

/// A response that is not a success; the first byte chooses the status.
func readError(_ bytes: [UInt8]) {
    let statuses = [301, 400, 401, 403, 404, 405, 408, 422, 426, 429, 500, 502, 503]
    let status = statuses[Int(bytes.first ?? 0) % statuses.count]
    let body = Array(bytes.dropFirst())
    let error = Classification.error(for: HTTPResponse(status: status, body: body))
    checkIsFitForLog(error)
    if error.code == .notFound {
        let problem = Problem(body)
        let words = [problem?.title, problem?.detail].compactMap { $0 } + (problem?.fields.map(\.message) ?? [])
        check(words.contains { $0.lowercased().filter(\.isLetter).contains("found") }, "absent without a word of it")
    }
    if status >= 500, error.advice != .retry {
        check(Problem(body)?.title.isEmpty == false, "a failing server decides about a person")
    }
}

private func checkIsFitForLog(_ error: MailchimpError) {
    let line = "\(error)"
    check(line.utf8.count < 3500, "\(line.utf8.count) bytes for a log")
    check(!line.contains("@"), "an address for a log")
    check(line.unicodeScalars.allSatisfy { $0.value >= 0x20 && $0.value != 0x7f }, "a control character for a log")
    _ = (error.advice, error.isThrottling, error.onlyRequiredFieldsAreMissing)
}

/// A page that goes to PostgreSQL as it came.
func readPage(_ bytes: [UInt8]) {
    guard let page = RawPage(bytes, of: "members") else { return }
    // Numbers it does not read, and so does not refuse those beyond a double, which PostgreSQL takes.
    check((try? JSONDecoder().decode(OtherPage.self, from: Data(page.bytes))) != nil, "another parser sees no page")
    check(RawPage(page.bytes, of: "members")?.bytes == page.bytes, "what is repaired needs repair")
}

/// What Foundation has to see in a page.
private struct OtherPage: Decodable {
    struct Item: Decodable {
        enum Keys: CodingKey {}

        init(from decoder: any Decoder) throws { _ = try decoder.container(keyedBy: Keys.self) }
    }

    let members: [Item]
}

/// A point in time.
func readMoment(_ bytes: [UInt8]) {
    guard let date = Timestamp.parse(String(decoding: bytes, as: UTF8.self)) else { return }
    let text = Timestamp.format(date)
    let whole = Date(timeIntervalSince1970: date.timeIntervalSince1970.rounded(.down))
    check(Timestamp.parse(text) == whole, "\(date.timeIntervalSince1970) is written as \(text)")
}

/// A header field with a signature: whatever stands there, only the right code opens.
func readSignature(_ bytes: [UInt8]) {
    guard let secret = SigningSecret("0123456789abcdef") else { return }
    let header = String(decoding: bytes, as: UTF8.self)
    let verdict = secret.verdict(on: header, of: Array("type=subscribe".utf8), at: Date(timeIntervalSince1970: 0))
    check(verdict != .valid && verdict != .stale, "a signature is guessed")
}

/// A key that somebody typed, which becomes part of a host name and of a header field.
func readKey(_ bytes: [UInt8]) {
    let text = String(decoding: bytes, as: UTF8.self)
    let part = percentEncoded(text)
    check(!part.contains { "/?#&= ".contains($0) } && part != "." && part != "..", "a part reaches beyond itself")
    guard let key = try? APIKey(text) else { return }
    let digits = key.dataCentre.dropFirst(2)
    check(key.dataCentre.hasPrefix("us") && (1...3).contains(digits.count), "\(key.dataCentre)")
    check(digits.allSatisfy { $0.isASCII && $0.isNumber }, "\(key.dataCentre)")
    check("\(key)" == "API key of \(key.dataCentre)", "a key is printed")
}
