import HTTPClient
import Postgres
import ServiceCenter
import TestSupport
import Testing

@Suite("Health")
struct HealthDoorTests {
    @Test(.database) func aMigratedDatabaseIsReady() async throws {
        try await withServiceCenter { door in
            let status1 = try await door.send("GET", "/health/live").status
            #expect(status1 == 200)
            let status2 = try await door.send("GET", "/health/ready").status
            #expect(status2 == 200)
            // The second answer does not look at the schema again.
            let status3 = try await door.send("GET", "/health/ready").status
            #expect(status3 == 200)
        }
    }

    @Test(.emptyDatabase) func aDatabaseWithoutTheSchemaIsNotReadyAndTheAnswerSaysWhatToDo() async throws {
        try await withServiceCenter { door in
            let status4 = try await door.send("GET", "/health/live").status
            #expect(status4 == 200)
            let answer = try await door.send("GET", "/health/ready")
            #expect(answer.status == 503)
            #expect(answer.header("content-type") == "application/problem+json")
            #expect(try answer.decode(ToldProblem.self).detail.contains("koppeling migrate"))
        }
    }

    @Test(.database) func anAddressThatIsNotThereIsAProblemToo() async throws {
        try await withServiceCenter { door in
            for (method, path) in [("GET", "/nowhere"), ("POST", "/health/ready")] {
                let answer = try await door.send(method, path)
                #expect(answer.status == 404)
                let told = try answer.decode(ToldProblem.self)
                #expect(told.status == 404 && told.detail.contains("docs/target-groups.md"))
            }
        }
    }

    @Test(.database) func aPortThatIsTakenEndsInOneLine() async throws {
        try await withServiceCenter { door in
            let port = try #require(Int(door.base.split(separator: ":").last ?? ""))
            let second = ServiceCenter(
                pool: TestDatabase.current.pool, configuration: .init(port: port), logger: door.log.logger)
            await #expect {
                try await second.run()
            } throws: { error in
                (error as? ServiceCenterError)?.code == .listen && "\(error)".contains("KOPPELING_LISTEN")
            }
        }
    }
}
