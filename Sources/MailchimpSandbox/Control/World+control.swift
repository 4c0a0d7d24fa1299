/// The control door: what stands outside the Marketing API, for whoever drives the sandbox.
extension World {
    func control(_ call: Call) async throws(Problem) -> JSON {
        let parts = call.segments
        switch (call.method, parts.first, parts.count) {
        case ("GET", nil, _): return Self.doors
        case ("GET", "overview", 1): return overview
        case (_, "accounts", _): return try accountsDoor(call)
        case (_, "apps", _): return try appsDoor(call)
        case (_, "lists", 1), (_, "lists", 2): return try listsDoor(call)
        case (_, "lists", _): return try contactsDoor(call, try controlledList(parts[1]))
        case (_, "requests", _): return try requestsDoor(call)
        case (_, "latency", 1): return try latencyDoor(call)
        case (_, "faults", _): return try faultsDoor(call)
        case ("GET", "batches", 1), ("PUT", "batches", 1): return try batchesDoor(call)
        case (_, "clock", 1): return try clockDoor(call)
        case (_, "webhooks", _): return try webhooksDoor(call)
        case (_, "switches", 1): return try switchesDoor(call)
        case (_, "throttled", 1): return try throttledDoor(call)
        case (_, "audit", _): return try auditDoor(call)
        default: throw .notFound
        }
    }

    func controlledList(_ id: String) throws(Problem) -> Audience {
        guard let audience = audiences[id] else { throw Problem(404, "Not Found", "There is no list \(id).") }
        return audience
    }

    static func wrong(_ detail: String) -> Problem { Problem(400, "Bad Request", detail) }

    private static let doors: JSON = [
        "doors": [
            "GET /sandbox/overview", "GET POST /sandbox/accounts", "PATCH /sandbox/accounts/{account}",
            "POST /sandbox/accounts/{account}/users", "PATCH DELETE /sandbox/accounts/{account}/users/{user}",
            "GET POST /sandbox/apps", "PATCH DELETE /sandbox/apps/{app}", "GET POST /sandbox/lists",
            "GET DELETE /sandbox/lists/{list}", "POST /sandbox/lists/{list}/contacts",
            "POST /sandbox/lists/{list}/acts",
            "GET /sandbox/lists/{list}/members", "GET /sandbox/lists/{list}/members/{member}",
            "POST /sandbox/lists/{list}/members/{member}/contact/{act}",
            "POST /sandbox/lists/{list}/members/{member}/admin/{act}", "GET DELETE /sandbox/requests",
            "GET /sandbox/requests/counts", "GET PUT /sandbox/latency", "GET POST DELETE /sandbox/faults",
            "DELETE /sandbox/faults/{fault}", "GET PUT PATCH /sandbox/webhooks", "GET /sandbox/webhooks/deliveries",
            "GET /sandbox/webhooks/waiting", "POST /sandbox/lists/{list}/events", "GET POST /sandbox/clock",
            "GET PUT /sandbox/batches",
            "GET PATCH /sandbox/switches", "PUT /sandbox/throttled", "GET PUT DELETE /sandbox/audit",
            "GET /sandbox/audit/repeats",
        ]
    ]
}
