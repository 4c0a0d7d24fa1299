import Foundation
import HTTPClient
import IO
import TestSupport
import Testing

@testable import MailchimpSandbox

/// `/batches`: calls that are made later, and the archive of their answers.
@Suite struct BatchTests {
    @Test("a batch is made in the background; its answers are in an archive whose address dies after ten minutes")
    func results() async throws {
        try await visit { visit in
            let id = try await visit.handIn([
                visit.adding("ann@people.test", "one"), visit.adding("ann@people.test", "two"),
                ["method": "GET", "path": "/ping", "operation_id": "three"],
                ["method": "POST", "path": "/batches", "operation_id": "four", "body": "{\"operations\":[]}"],
                [
                    "method": "GET", "path": .string("/lists/\(visit.list)/members"), "operation_id": "five",
                    "params": ["fields": "total_items", "count": 1],
                ],
            ])
            let batch = try await visit.finished(id)
            #expect(batch["total_operations"] == 5)
            #expect(batch["finished_operations"] == 5)
            #expect(batch["errored_operations"] == 2)
            let url = try #require(batch["response_body_url"].string)
            let files = try await visit.unpack(url)
            let answers = files.flatMap(\.answers)
            let statuses = Dictionary(uniqueKeysWithValues: answers.map { ($0.operation, $0.status) })
            #expect(statuses == ["one": 200, "two": 400, "three": 200, "four": 404, "five": 200])
            let refused = try #require(answers.first { $0.operation == "two" })
            #expect(refused.response["title"] == "Member Exists")
            #expect(refused.response["instance"] == "")
            #expect(answers.first { $0.operation == "five" }?.response == ["total_items": 1])
            // The store takes no credentials beside its own, and knows nothing of old addresses.
            let other = try await visit.call("GET", visit.path(url))
            #expect(other.status == 400)
            try await visit.advance(601)
            #expect(try await visit.call("GET", visit.path(url), headers: []).status == 403)
            let fresh = try #require(try await visit.finished(id)["response_body_url"].string)
            #expect(try await visit.unpack(fresh).count == files.count)
            try await visit.advance(7 * 86_400)
            #expect(try await visit.call("GET", "/3.0/batches/\(id)").status == 404)
        }
    }

    @Test("an account's batches are made one after another by the sandbox's clock, and one that is deleted is not made")
    func order() async throws {
        try await visit { visit in
            try await visit.control("PUT", "/sandbox/latency", ["batch": 60_000, "batch_operation": 60_000])
            let first = try await visit.handIn([
                visit.adding("ann@people.test", "1"), visit.adding("bee@people.test", "2"),
            ])
            let second = try await visit.handIn([visit.adding("cat@people.test", "1")])
            #expect(try await visit.call("GET", "/3.0/batches/\(first)")["status"] == "pending")
            try await visit.advance(40)
            try await eventually("its turn is near") {
                try await visit.call("GET", "/3.0/batches/\(first)")["status"] == "preprocessing"
            }
            try await visit.advance(80)
            try await eventually("the first call is made") {
                try await visit.call("GET", "/3.0/batches/\(first)")["finished_operations"] == 1
            }
            #expect(try await visit.call("GET", "/3.0/batches/\(first)")["status"] == "started")
            #expect(try await visit.call("GET", visit.member("bee@people.test")).status == 404)
            #expect(try await visit.call("GET", "/3.0/batches/\(second)")["status"] == "pending")
            #expect(try await visit.call("DELETE", "/3.0/batches/\(first)").status == 204)
            #expect(try await visit.call("GET", "/3.0/batches/\(first)").status == 404)
            for _ in 0..<3 { try await visit.advance(60) }
            _ = try await visit.finished(second)
            #expect(try await visit.call("GET", visit.member("bee@people.test")).status == 404)
            #expect(try await visit.call("GET", visit.member("cat@people.test")).status == 200)
            let all = try await visit.call("GET", "/3.0/batches")
            #expect(all["total_items"] == 1)
        }
    }

    @Test("the answers fill several files, in no order, and the first file can be empty on purpose")
    func files() async throws {
        try await visit { visit in
            let many = (0..<1100).map {
                JSON.object(["method": "GET", "path": "/ping", "operation_id": .string("\($0)")])
            }
            let whole = try await visit.finished(try await visit.handIn(many))
            let files = try await visit.unpack(try #require(whole["response_body_url"].string))
            #expect(files.map(\.answers.count) == [500, 500, 100])
            let order = files.flatMap(\.answers).compactMap { Int($0.operation) }
            #expect(order != order.sorted())
            #expect(order.sorted() == Array(0..<1100))
            try await visit.control("PUT", "/sandbox/batches", ["loses_results": true])
            let lost = try await visit.finished(try await visit.handIn(many))
            #expect(lost["errored_operations"] == 0)
            let rest = try await visit.unpack(try #require(lost["response_body_url"].string))
            #expect(rest.map(\.answers.count) == [0, 500, 100])
        }
    }

    @Test("calls that are no calls are refused, and so is the five hundred and first batch that waits")
    func limits() async throws {
        try await visit { visit in
            for wrong in [
                [:], ["operations": [["method": "HEAD", "path": "/ping"]]], ["operations": [["method": "GET"]]],
                ["operations": [["method": "POST", "path": "/lists", "body": ["name": "x"]]]],
            ] as [JSON] {
                let answer = try await visit.call("POST", "/3.0/batches", wrong)
                #expect(answer.status == 400, "\(wrong)")
            }
            try await visit.control("PUT", "/sandbox/latency", ["batch": 60_000])
            for _ in 0..<500 { _ = try await visit.handIn([]) }
            let answer = try await visit.call("POST", "/3.0/batches", ["operations": []])
            #expect(answer.status == 429)
        }
    }
}

/// What one file of an archive held.
private struct ResultFile {
    struct Answer {
        let operation: String
        let status: Int
        let response: JSON
    }

    let answers: [Answer]

    init(_ text: String) throws {
        let array = text.isEmpty ? [] : try JSON(parsing: Array(text.utf8)).array ?? []
        answers = try array.map { one in
            Answer(
                operation: one["operation_id"]?.string ?? "", status: one["status_code"]?.integer ?? 0,
                response: try JSON(parsing: Array((one["response"]?.string ?? "").utf8)))
        }
    }
}

extension Visit {
    fileprivate func adding(_ address: String, _ id: String) -> JSON {
        let body: JSON = ["email_address": .string(address), "status": "subscribed"]
        return [
            "method": "POST", "path": .string("/lists/\(list)/members"), "operation_id": .string(id),
            "body": .string(String(decoding: body.bytes, as: UTF8.self)),
        ]
    }

    fileprivate func handIn(_ operations: [JSON]) async throws -> String {
        let made = try await call("POST", "/3.0/batches", ["operations": .array(operations)])
        return try #require(made["id"].string)
    }

    fileprivate func finished(_ id: String) async throws -> Reading {
        try await eventually("the batch is finished") {
            try await call("GET", "/3.0/batches/\(id)")["status"] == "finished"
        }
        return try await call("GET", "/3.0/batches/\(id)")
    }

    fileprivate func path(_ url: String) -> String { String(url.dropFirst("http://127.0.0.1:\(port)".count)) }

    /// Fetches an archive and lets `tar` read it; the files in the order of their names.
    fileprivate func unpack(_ url: String) async throws -> [ResultFile] {
        let answer = try await call("GET", path(url), headers: [])
        #expect(answer.status == 200)
        let folder = FileManager.default.temporaryDirectory.appendingPathComponent(
            "koppeling-batch-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: folder) }
        try Data(answer.response.body).write(to: folder.appendingPathComponent("results.tar.gz"))
        let listing = await output(of: "cd '\(folder.path)' && gzip -t results.tar.gz && tar -xzvf results.tar.gz")
        let names = listing.split(separator: "\n").map(String.init)
        #expect(names.first == "./")
        return try names.dropFirst().sorted().map { name in
            try ResultFile(String(contentsOf: folder.appendingPathComponent(name), encoding: .utf8))
        }
    }
}
