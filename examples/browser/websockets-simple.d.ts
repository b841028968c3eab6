/**
 * A WebSocket client for browsers that goes with the servers of websockets-simple.
 *
 * ```js
 * import { WebsocketClient } from "./websockets-simple.js";
 *
 * const client = new WebsocketClient("wss://chat.example/", {
 *   subprotocols: ["chat.v1"],
 *   token: async () => (await fetch("/ticket", { method: "POST" })).text(),
 * });
 * client.addEventListener("message", ({ detail }) => console.log(detail.data));
 * client.addEventListener("connected", () => client.sendPacket("hello"));
 * client.connect();
 * ```
 */
export class WebsocketClient extends EventTarget {
  /** Nothing happens before {@link connect}. */
  constructor(url: string | URL, options?: ClientOptions);

  readonly state: ConnectionState;

  /** What the server chose, `""` if nothing or not connected. */
  readonly subprotocol: string;

  /** Bytes that wait to be sent. */
  readonly bufferedAmount: number;

  /** Connects, and from then on connects again whenever that makes sense. Without effect unless idle. */
  connect(): void;

  /**
   * Ends the connection or the attempt, and does not connect again. Idle at once; what still arrives is not heard.
   * @throws if the code is neither 1000 nor 3000 to 4999, or the reason has more than 123 bytes. Nothing ends then.
   */
  disconnect(code?: number, reason?: string): void;

  /** @throws if not connected: nothing is kept for a later connection. */
  send(data: string | Blob | BufferSource): void;

  /** Sends a value as JSON. @throws if not connected. */
  sendJson(value: unknown): void;

  /** Sends the default packet: `{"Data":"..","Timestamp":".."}`. @throws if not connected. */
  sendPacket(data: string): void;

  addEventListener<K extends keyof ClientEvents>(
    kind: K,
    listener: (event: ClientEvents[K]) => void,
    options?: boolean | AddEventListenerOptions,
  ): void;
  addEventListener(
    kind: string,
    listener: EventListenerOrEventListenerObject | null,
    options?: boolean | AddEventListenerOptions,
  ): void;
  removeEventListener<K extends keyof ClientEvents>(
    kind: K,
    listener: (event: ClientEvents[K]) => void,
    options?: boolean | EventListenerOptions,
  ): void;
  removeEventListener(
    kind: string,
    listener: EventListenerOrEventListenerObject | null,
    options?: boolean | EventListenerOptions,
  ): void;
}

/** `waiting`: for the moment of the next attempt. */
export type ConnectionState = "idle" | "connecting" | "connected" | "waiting";

export interface ClientOptions {
  /**
   * Asked for a token before every attempt, and when the server says that the credentials expire. The token travels as
   * the subprotocol `bearer.BASE64URL(TOKEN)`. Throw {@link NotAuthorized} to say that there will be none: the client
   * becomes idle. After any other error it tries again later.
   */
  token?: () => string | undefined | Promise<string | undefined>;

  /** Offered to the server, the preferred first. */
  subprotocols?: string[];

  /**
   * Also offer `websockets-simple`, by which tokens are renewed over the open connection if the server chooses it.
   * Servers of other make may choose nothing, which browsers refuse: set it to false for those. Default: true.
   */
  control?: boolean;

  /** Answer the text `ping` with `pong` and keep both from the application. Default: true. */
  answersTextPing?: boolean;

  /** Connect again after a connection or an attempt failed. Default: true. */
  reconnect?: boolean;

  /** The first attempt after a failure comes within this many milliseconds, each later one within twice as many. Default: 500. */
  baseDelay?: number;

  /** Milliseconds that an attempt waits at most. Default: 30000. */
  maxDelay?: number;

  /** Milliseconds after which an open connection counts as a success, so that delays begin anew. Default: 10000. */
  stableAfter?: number;

  /** Milliseconds that an attempt may take. Default: 20000. */
  connectTimeout?: number;

  /** Between 0 and 1, for the delays. Default: `Math.random`. */
  random?: () => number;

  /** Another implementation of the browsers' WebSocket. */
  WebSocket?: typeof WebSocket;
}

export class ClientEvent<T = unknown> extends Event {
  constructor(kind: string, detail: T);
  readonly detail: T;
}

export interface ClientEvents {
  state: ClientEvent<{ state: ConnectionState }>;
  connected: ClientEvent<{ subprotocol: string }>;
  message: ClientEvent<{ data: string | ArrayBuffer }>;
  /** Follows every connection and every attempt that failed. */
  disconnected: ClientEvent<Disconnected>;
  /** The server has taken a new token; it is good until then, or for ever. */
  renewed: ClientEvent<{ expiresAt: string | null }>;
  /**
   * `connect`: there was no token, or the URL is none. `token`: the credentials could not be renewed; the connection
   * stays until they expire. `control`: the server sent a control message that is none.
   */
  error: ClientEvent<{ stage: "connect" | "token" | "control"; error: unknown }>;
}

export interface Disconnected {
  /** 1006 if the connection broke or never opened: browsers do not say why, not even that a token was refused. */
  code: number;
  reason: string;
  /** Whether it ever was open. */
  opened: boolean;
  /** Milliseconds to the next attempt; null if there will be none. */
  reconnectIn: number | null;
}

/** What a token provider throws when there is no token for this user. */
export class NotAuthorized extends Error {
  constructor(message?: string);
}

/** Close codes that say what to do next. Others exist. */
export const CloseCode: {
  readonly NORMAL: 1000;
  readonly GOING_AWAY: 1001;
  readonly PROTOCOL: 1002;
  readonly UNSUPPORTED: 1003;
  readonly ABNORMAL: 1006;
  readonly INVALID_DATA: 1007;
  readonly POLICY: 1008;
  readonly TOO_BIG: 1009;
  readonly INTERNAL: 1011;
  readonly RESTART: 1012;
  readonly TRY_AGAIN: 1013;
  readonly UNRESPONSIVE: 4000;
  readonly OVERFLOW: 4001;
  readonly IDLE: 4002;
  readonly EXPIRED: 4003;
  readonly REVOKED: 4004;
};

/** Whether a client that is closed with this code does well to connect again. */
export function shouldReconnect(code: number): boolean;

/**
 * Milliseconds to wait after so many failures: anything between nothing and `baseDelay * 2^failures`, at most `maxDelay`,
 * so that clients that were lost together do not come back together. Servers that stop, are overloaded or failed
 * (1001, 1011, 1013, 4001) are given the time of three failures at least.
 */
export function reconnectDelay(
  failures: number,
  code: number,
  options?: { baseDelay?: number; maxDelay?: number; random?: () => number },
): number;

/** The default packet as it is on the wire. */
export function encodePacket(data: string, at?: Date): string;

/**
 * Reads the default packet as leniently as the Rust and .NET libraries do: names in any case, `Data` also as a number or
 * a boolean. Any text that is no packet becomes one that was made now. A missing timestamp is null.
 */
export function decodePacket(text: string): { data: string; timestamp: string | null };
