import Foundation
import MailchimpSandbox
import Postgres

/// From a CSV file to the list and back, against a sandbox that is as slow as the real Mailchimp.
///
/// Each figure that has an aim is held against the bound that Mailchimp's latency and the permits set: calls times
/// latency through the calls that may be under way at once.
struct SyncBench: Sendable {
    let world: StandInWorld
    let size: Size
    let latency: Latency
    /// A Python with Mailchimp's client, to compare with; nil when there is none.
    let python: String?
    let show: Figures

    /// How much is done.
    struct Size: Sendable {
        var persons = 100_000
        var compared = 20_000
        var edits = 1200
        var contacts = 100_000

        /// Less; more than 500 leave, so that the brake holds them as it does the others, and none of them is compared.
        static let quick = Size(persons: 21_000, compared: 20_000, edits: 600, contacts: 10_000)
    }

    /// What a call takes at the sandbox, in milliseconds.
    struct Latency: Sendable, Encodable {
        var single = 350.0
        var bulk = 1500.0
        var bulk_member = 3.0
        var page = 350.0
        var page_member = 1.0
    }

    static let lists = ["Nieuwsbrief", "Vergelijking", "Losse aanroepen", "Groot"]
    private static let compared = "Mailingen / Vergelijking"
    private static let permits = 6.0

    func run() async throws {
        try await prepare()
        let worker = try world.program.startWorker(log: world.folder + "/worker.log")
        defer { worker.stop() }
        try await plan(list: "Nieuwsbrief", category: DemoPersons.newsletter, persons: size.persons)
        try await beSlow()
        try await firstPush(worker)
        try await readAgain()

        let others = try (2...4).map { try world.program.startWorker(log: world.folder + "/worker\($0).log") }
        defer { others.forEach { $0.stop() } }
        try await updates()
        try await archives()
        try await secondPush()
        try await readAgain()
        others.forEach { $0.stop() }
        try await firstPull(worker)
    }

    // MARK: - The parts

    private func prepare() async throws {
        try await world.program.run("migrate")
        try await world.program.run("account", "connect", "--name", "Instituut", input: StandInWorld.apiKey)
        for list in Self.lists where list != "Losse aanroepen" {
            try await world.program.run("instance", "link", "Instituut", "--list", list)
        }
        let file = world.folder + "/persons.csv"
        try Data(personsFile().utf8).write(to: URL(filePath: file))
        let imported = try await seconds { try await world.program.run("person", "import", file) }
        show("import", imported, "s")
    }

    private func personsFile() -> String {
        var file = "bron,nummer,voornaam,tussenvoegsels,achternaam,geslacht,e-mailadres zakelijk,categorieën\n"
        for number in 1...size.persons {
            let categories = number <= size.compared ? ";\(Self.compared)" : ""
            file +=
                "bench,\(number),Anna,van der,Berg \(number),vrouw,persoon\(number)@post.koppeling.test,"
                + "\(DemoPersons.newsletter)\(categories)\n"
        }
        return file
    }

    /// Adds the rule, waits for the held plan, and has the list read.
    private func plan(list: String, category: String, persons: Int) async throws {
        let evaluated = try await seconds {
            try await world.program.run("rule", "add", "Mailchimp - \(list)", category)
            try await world.eventually("everybody is in the plan", within: .seconds(1200)) {
                try await world.number(
                    "select coalesce(sum(joins), 0)::bigint from koppeling.plans where state = 'held'")
                    == Int64(persons)
            }
            try await allRecorded()
        }
        show("evaluate \(persons), to a held plan", evaluated, "s")
        try await world.program.run("instance", "enable", list)
        try await read(list)
    }

    private func read(_ list: String) async throws {
        try await world.eventually("the list \(list) is read", within: .seconds(900)) {
            try await world.number(
                """
                select count(*) from koppeling.connector_instance where name = \(list) and last_pull_at is not null
                """) == 1
        }
    }

    private func beSlow() async throws {
        try await door.send("PUT", "latency", String(decoding: JSONEncoder().encode(latency), as: UTF8.self))
    }

    /// Approves the held plan; from then on until the last action is recorded, in seconds.
    private func push() async throws -> Double {
        let plan = try await world.pool.query("select id, version from koppeling.plans where state = 'held'")
        let (number, version): (Int64, Int32) = (try plan[0].decode("id"), try plan[0].decode("version"))
        return try await seconds {
            try await world.program.run("plan", "approve", String(number), "--plan-version", String(version))
            try await allRecorded()
        }
    }

    /// Waits until no action is left; the readings of the lists go on as they are due.
    private func allRecorded() async throws {
        try await world.eventually("all actions are recorded", within: .seconds(1800)) {
            try await world.number(
                """
                select count(*) from koppeling.job where kind in ('action', 'group.evaluate', 'plan.apply')
                """) == 0
        }
    }

    private func firstPush(_ worker: Program.Worker) async throws {
        try await door.send("DELETE", "requests")
        let before = worker.processorTime()
        let pushed = try await push()
        let counts = try await calls()
        let bulk = Double(size.persons) / 500
        let bound = (bulk * latency.bulk + Double(size.persons) * latency.bulk_member) / 1000 / Self.permits
        show("first push of \(size.persons)", pushed, "s", of: "the bound", bound, atMost: 1.15)
        show("calls that write, for the first push", Double(counts.writes), "calls", atMost: bulk + 5)
        show("calls that read meanwhile", Double(counts.reads), "calls")
        show(
            "processor time of the worker, a 100,000", (worker.processorTime() - before) * 1e5 / Double(size.persons),
            "s",
            atMost: 10)
        show("peak resident memory of the worker", worker.peakMemory(), "MB", atMost: 150)
    }

    /// After many creates the list is read once more, to see who was there before: the next figure begins after that.
    private func readAgain() async throws {
        let read = try await seconds {
            try await world.eventually("the list is read again", within: .seconds(900)) {
                try await world.number(
                    """
                    select count(*) from koppeling.job
                    where kind = 'instance.pull' and (state = 'running' or (args ->> 'after_creates')::boolean)
                    """) == 0
            }
        }
        show("reading again whom the calls made, the wait of 20 s included", read, "s")
    }

    private var singles: Double { Double(size.edits) * latency.single / 1000 / Self.permits }

    private func updates() async throws {
        let updated = try await seconds {
            try await world.pool.query(
                """
                select koppeling.put_persons((
                    select jsonb_agg(jsonb_build_object('source', 'bench', 'id', n::text, 'given_name', 'Hanna'))
                    from generate_series(1, \(Int64(size.edits))::bigint) n))
                """)
            try await allRecorded()
        }
        // Those who are in both groups count once: the second list has not been pushed yet.
        show("\(size.edits) updates", updated, "s", of: "the bound", singles, atMost: 1.25)
    }

    private func archives() async throws {
        try await world.pool.query(
            """
            select koppeling.put_persons(jsonb_agg(jsonb_build_object(
                'source', 'bench', 'id', n::text, 'categories', '[]'::jsonb)))
            from generate_series(\(Int64(size.persons - size.edits))::bigint + 1, \(Int64(size.persons))::bigint) n
            """)
        try await world.eventually("all who leave are in the plan", within: .seconds(600)) {
            try await world.number(
                "select coalesce(sum(leaves), 0)::bigint from koppeling.plans where state = 'held'")
                == Int64(size.edits)
        }
        // Each is read before it is archived.
        show("\(size.edits) archives", try await push(), "s", of: "the bound", 2 * singles, atMost: 1.25)
    }

    private func secondPush() async throws {
        try await plan(list: "Vergelijking", category: Self.compared, persons: size.compared)
        let pushed = try await push()
        let rate = Double(size.compared) / pushed
        show("members a second, \(size.compared) new ones", rate, "1/s")
        try await inFlight()
        if let python { try await compare(rate, python, seconds: pushed) }
    }

    private func compare(_ rate: Double, _ python: String, seconds: Double) async throws {
        let lists = await world.sandbox.lists()
        guard let list = lists.first(where: { $0.name == "Losse aanroepen" }) else { return }
        let output = try await Program.output(
            of: python,
            ["Benchmarks/sync/single_puts.py", world.sandboxRoot, StandInWorld.apiKey, list.id, String(seconds)])
        let numbers = output.split(separator: " ").compactMap { Double($0.filter { !$0.isWhitespace }) }
        guard numbers.count == 2 else { throw Failure("the script of single calls printed: \(output)") }
        let single = numbers[0] / numbers[1]
        show("members a second, single PUTs by the official Python client over 10 threads", single, "1/s")
        show("ours through theirs", rate / single, "times", atLeast: 30)
    }

    private func inFlight() async throws {
        struct Audit: Decodable {
            struct User: Decodable { var most: Int }
            var most_in_flight: [String: Int]
        }
        let audit: Audit = try await door.send("GET", "audit").decode()
        show(
            "most calls in flight, with up to four workers", Double(audit.most_in_flight.values.max() ?? 0), "calls",
            atMost: Self.permits)
    }

    private func firstPull(_ worker: Program.Worker) async throws {
        let lists = await world.sandbox.lists()
        guard let list = lists.first(where: { $0.name == "Groot" }) else { return }
        let big = SandboxDoor(root: world.sandboxRoot, list: list.id, http: world.http)
        try await big.send("POST", "lists/\(list.id)/contacts", #"{"generate":\#(size.contacts)}"#)
        let before = worker.residentMemory()
        let pulled = try await seconds {
            try await world.program.run("instance", "enable", "Groot")
            try await read("Groot")
        }
        let pages = (Double(size.contacts) / 1000).rounded(.up) + 2
        let bound = (pages * latency.page + Double(size.contacts) * latency.page_member) / 1000
        show("first pull of \(size.contacts) contacts", pulled, "s", of: "the bound", bound, atMost: 1.3)
        show("resident memory of the worker, grown by the pull", worker.residentMemory() - before, "MB")
    }

    // MARK: - Tools

    private var door: SandboxDoor { SandboxDoor(root: world.sandboxRoot, list: "", http: world.http) }

    private func calls() async throws -> (writes: Int, reads: Int) {
        struct Counts: Decodable {
            struct Count: Decodable {
                var method: String
                var count: Int
            }
            var counts: [Count]
        }
        let counts: Counts = try await door.send("GET", "requests/counts").decode()
        let writes = counts.counts.filter { $0.method != "GET" }.reduce(0) { $0 + $1.count }
        return (writes, counts.counts.reduce(0) { $0 + $1.count } - writes)
    }
}
