/// `/batches`: handing calls in, asking how far they are, and taking them back.
extension World {
    func addBatch(_ call: Call, _ account: Account, _ links: Links) throws(Problem) -> Answer {
        guard let given = try call.object()["operations"]?.array else {
            throw .invalid([("operations", "Required fields were not provided: operations")])
        }
        let pending = batches.all.count { $0.account == account.id && !$0.isFinished }
        guard pending < BatchBook.mostPending else {
            throw Problem(
                429, "TooManyRequests",
                "You have more than \(BatchBook.mostPending) pending webhooks. Please wait for some to complete before adding any more batches."
            )
        }
        var operations: [Batch.Operation] = []
        for (index, one) in given.enumerated() { operations.append(try operation(one, index, of: call)) }
        // What a caller knew when he handed the calls in is all that they can rely on.
        for operation in operations { audit.consent.arrive(operation.call.requestID, second: now()) }
        let batch = Batch(
            id: newID(10), account: account.id, submittedAt: now(), submitted: instant(), operations: operations)
        batches.prune(at: now())
        batches.add(batch)
        batches.bell?.yield()
        return .ok(json(batch, call, links), schema: "Batches/Instance")
    }

    private func operation(_ value: JSON, _ index: Int, of call: Call) throws(Problem) -> Batch.Operation {
        let place = "operations.item:\(index)"
        let methods = ["GET", "POST", "PUT", "PATCH", "DELETE"]
        guard let method = value["method"]?.string, methods.contains(method) else {
            throw .invalid([("\(place).method", "This value should be one of \(methods.joined(separator: ", ")).")])
        }
        guard let path = value["path"]?.string else {
            throw .invalid([("\(place).path", "Required fields were not provided: path")])
        }
        if let body = value["body"], body != .null, body.string == nil {
            throw .invalid([("\(place).body", "Schema describes string, \(body.kind) found instead")])
        }
        let parameters = (value["params"]?.object?.pairs ?? []).map { pair in
            let text = pair.value.string ?? String(decoding: pair.value.bytes, as: UTF8.self)
            return "\(PercentCoding.encode(pair.key))=\(PercentCoding.encode(text))"
        }
        let made = Call(
            method: method, path: Call.marketing + path, segments: Call.segments(of: path),
            query: Query(parameters.joined(separator: "&")), body: Call.Body(Array((value["body"]?.string ?? "").utf8)),
            remoteIP: call.remoteIP, requestID: "\(call.requestID)/\(index)", host: call.host, account: call.account,
            user: call.user)
        return Batch.Operation(id: value["operation_id"]?.string ?? "", call: made)
    }

    func listBatches(_ call: Call, _ account: Account, _ links: Links) throws(Problem) -> Answer {
        batches.prune(at: now())
        let all = batches.all.filter { $0.account == account.id }
        let page = try paging(call).of(all).map { json($0, call, links) }
        let body: JSON = [
            "batches": .array(page), "total_items": .integer(all.count),
            "_links": links.collection("/batches", parent: "/", schema: "Batches"),
        ]
        return .ok(body, schema: "Batches/Collection")
    }

    func batch(_ id: String, _ call: Call, _ account: Account, _ links: Links) throws(Problem) -> Answer {
        .ok(json(try batch(id, of: account), call, links), schema: "Batches/Instance")
    }

    /// Stops a batch; calls that were not made are not made any more, and what was answered is lost.
    func removeBatch(_ id: String, _ account: Account) throws(Problem) -> Answer {
        let batch = try batch(id, of: account)
        for operation in batch.operations { audit.consent.leave(operation.call.requestID, sighting: nil) }
        batches.remove(id)
        batches.bell?.yield()
        return .noContent
    }

    private func batch(_ id: String, of account: Account) throws(Problem) -> Batch {
        batches.prune(at: now())
        guard let batch = batches.all.first(where: { $0.id == id && $0.account == account.id }) else {
            throw .notFound
        }
        return batch
    }

    private func json(_ batch: Batch, _ call: Call, _ links: Links) -> JSON {
        var address = ""
        if batch.isFinished {
            // A fresh one each time, as by a store that signs its addresses.
            let token = HexID(random: &generator).hex
            batches.open(token, to: batch.id, at: now())
            address = "http://\(call.host)\(BatchResults.prefix)/\(token).tar.gz"
        }
        return [
            "id": .string(batch.id), "status": .string(batch.status(at: instant()).rawValue),
            "total_operations": .integer(batch.operations.count),
            "finished_operations": .integer(batch.results.count), "errored_operations": .integer(batch.errors),
            "submitted_at": .string(Timestamp.text(batch.submittedAt)),
            "completed_at": .string(Timestamp.text(batch.completedAt)), "response_body_url": .string(address),
            "_links": links.item("/batches/\(batch.id)", parent: "/batches", schema: "Batches", deletes: true),
        ]
    }
}
