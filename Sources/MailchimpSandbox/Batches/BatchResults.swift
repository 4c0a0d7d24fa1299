import HTTPTypes
import NIOCore

/// The answers to a batch's calls as they are fetched: a `tar.gz` with a JSON array in each of its files.
enum BatchResults {
    /// Where they are, outside the API.
    static let prefix = "/batch-results"
    /// How many answers a file holds; the real number is not known.
    static let inFile = 500

    static func archive(_ results: [JSON], of batch: String, losingFirst: Bool) -> [UInt8] {
        var tar = Tar()
        tar.addFolder("./")
        for start in stride(from: 0, to: max(1, results.count), by: inFile) {
            let part = results[start..<min(start + inFile, results.count)]
            let isLost = losingFirst && start == 0
            tar.addFile("./\(batch)_\(start / inFile).json", isLost ? [] : JSON.list(part).bytes)
        }
        return Gzip.stored(tar.bytes)
    }
}

extension World {
    /// Hands out an archive to whoever knows its address; like the store, it wants no other credentials beside.
    func batchResults(_ call: Call) -> Reply {
        let token = (call.segments.first ?? "").replacing(".tar.gz", with: "")
        guard call.method == "GET", call.segments.count == 1 else {
            return Reply.text(404, "application/xml", "<Error><Code>NoSuchKey</Code></Error>")
        }
        guard call.authorization == nil else {
            return Reply.text(400, "application/xml", "<Error><Code>InvalidArgument</Code></Error>")
        }
        guard let archive = batches.archive(token, at: now()) else {
            return Reply.text(403, "application/xml", "<Error><Code>ExpiredToken</Code></Error>")
        }
        return Reply(status: 200, fields: [.contentType: "application/x-gzip"], body: ByteBuffer(bytes: archive))
    }

    func batchesDoor(_ call: Call) throws(Problem) -> JSON {
        if call.method == "PUT" {
            guard let loses = try call.object()["loses_results"]?.bool else {
                throw Self.wrong("loses_results is true or false: whether the first file of results is empty.")
            }
            batches.losesResults = loses
        }
        let all = batches.all.suffix(1000).map { batch -> JSON in
            [
                "id": .string(batch.id), "account": .string(batch.account),
                "status": .string(batch.status(at: instant()).rawValue),
                "operations": .integer(batch.operations.count), "made": .integer(batch.results.count),
                "errors": .integer(batch.errors),
            ]
        }
        return ["loses_results": .bool(batches.losesResults), "batches": .array(all)]
    }
}
